/** What the tests' engine holds when the window opens, by name. */
import type {
  Asset,
  CheckReport,
  Extent,
  Failure,
  Opening,
  ServiceStatus,
  Settings,
  SpeedSample,
  State,
  TimelineEntry,
  Transfer,
  WaitReason,
  Words,
} from '../src/engine/types';

export type Scenario =
  'first-run' | 'empty' | 'busy' | 'done' | 'failed' | 'long' | 'many' | 'offline' | 'broken' | 'unreachable';

export interface World {
  transfers: Transfer[];
  opening: Omit<Opening, 'list'>;
  assets: Asset[];
  timelines: Map<number, TimelineEntry[]>;
}

const MB = 1_000_000;
const GB = 1_000 * MB;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** What can be set for the services, under names that only they know. */
const ofServices = {
  mavi_url: 'https://mavi-backend.memories.ai/serve/api/v2',
  visual_search_url: 'https://api.memories.ai/serve/api/v1',
  offline_tube_url: '',
  upload_method: 'auto',
  unique_id: 'default',
  quality: '720p',
  remove_after: false,
};

const settings: Settings = {
  downloads_folder: null,
  concurrent_uploads: 3,
  concurrent_downloads: 3,
  limit_down: null,
  limit_up: null,
  retries: 5,
  connections: 8,
  default_service: 'mavi',
  keep_modified_time: false,
  follow_links: false,
  ...ofServices,
  theme: 'system',
  density: 'normal',
  units: 'decimal',
  language: 'system',
  keep_awake: true,
  start_at_login: false,
  close_to_tray: false,
  told_of_tray: false,
  notifications: true,
  welcomed: true,
};

function makeServices(keys: boolean): ServiceStatus[] {
  const none = {
    address_from_variable: false,
    key_belongs_to: null,
    problem: null,
    method: null,
    links: 'none',
    may_be_default: true,
    is_at_first: false,
    place: 'address',
    address_setting: null,
    settings: [],
  } satisfies Partial<ServiceStatus>;
  return [
    {
      ...none,
      id: 'mavi',
      name: 'MAVI',
      description: 'Upload by signed URL, download, delete',
      uploads: true,
      downloads: true,
      address: ofServices.mavi_url,
      address_setting: 'mavi_url',
      settings: [{ name: 'upload_method', label: 'Upload as', input: { is: 'method' }, value: 'auto' }],
      key: keys ? 'keychain' : 'missing',
      ready: keys,
      method: keys ? 'resumable' : null,
    },
    {
      ...none,
      id: 'visual-search',
      name: 'Visual Search',
      description: 'Download by video number',
      uploads: false,
      downloads: true,
      address: ofServices.visual_search_url,
      address_setting: 'visual_search_url',
      settings: [
        { name: 'unique_id', label: 'Unique id', input: { is: 'text', at_first: 'default' }, value: 'default' },
      ],
      key: keys ? 'keychain' : 'missing',
      ready: keys,
    },
    {
      ...none,
      id: 'offline-tube',
      name: 'Media server',
      description: 'Fetches a page’s video, then hands you the file',
      uploads: false,
      downloads: true,
      address: '',
      links: 'pages',
      address_setting: 'offline_tube_url',
      settings: [
        {
          name: 'quality',
          label: 'Quality',
          input: { is: 'choice', of: ['best', '2160p', '1440p', '1080p', '720p', '480p', '360p', 'audio'] },
          value: '720p',
        },
        {
          name: 'remove_after',
          label: 'Afterwards',
          input: { is: 'switch', yes: 'Remove the file from the server', no: 'Keep the file on the server' },
          value: false,
        },
      ],
      key: 'unneeded',
      ready: false,
    },
    {
      ...none,
      id: 'sandbox',
      name: 'Sandbox',
      description: 'Runs inside Ferry, on this computer only. For trying things out',
      uploads: true,
      downloads: true,
      address: '',
      links: 'pages',
      place: 'inside',
      is_at_first: true,
      key: 'unneeded',
      ready: true,
    },
    {
      ...none,
      id: 'link',
      name: 'Links',
      description: 'Any link to a file',
      uploads: false,
      downloads: true,
      address: '',
      links: 'any',
      place: 'link',
      may_be_default: false,
      key: 'unneeded',
      ready: true,
    },
  ];
}

let lastId = 0;

/** A transfer with everything that is not said left at rest. */
export function transfer(of: Partial<Transfer> & { name: string; state: State }): Transfer {
  lastId += 1;
  return {
    id: lastId,
    kind: 'download',
    service: 'mavi',
    bytes: 0,
    host: 'storage.example.org',
    added_at: Date.now() - 2 * MINUTE,
    position: lastId,
    resumable: true,
    ...of,
  };
}

const completed = (name: string, total: number, ago: number, of: Partial<Transfer> = {}): Transfer =>
  transfer({
    name,
    state: { is: 'completed' },
    total,
    bytes: total,
    verified: 'crc32c',
    checksum: '9a3b51c7',
    path: `/home/ada/Downloads/${name}`,
    asset_id: 're_8f31c0d4b7a2',
    added_at: Date.now() - ago - 52_000,
    ended_at: Date.now() - ago,
    ...of,
  });

const failed = (name: string, failure: Failure, of: Partial<Transfer> = {}): Transfer =>
  transfer({
    name,
    state: { is: 'failed', ...failure },
    added_at: Date.now() - 7 * MINUTE,
    ended_at: Date.now() - 5 * MINUTE,
    ...of,
  });

/** The speed of a transfer that moved all the time until it ended, with a stall in its middle. */
export function curveOf({ state, added_at, ended_at, bytes }: Transfer): SpeedSample[] {
  if (state.is !== 'completed' || ended_at === undefined || bytes === 0) return [];
  const mean = bytes / ((ended_at - added_at) / 1000);
  return Array.from({ length: 60 }, (_, at) => ({
    at: added_at + ((ended_at - added_at) * at) / 59,
    speed: at > 30 && at < 35 ? 0 : Math.round(mean * (1 + Math.sin(at / 4) / 3 - 1 / (at + 2))),
  }));
}

/** The one finished file that is not where it was. */
export const missing = 'photos of the site.zip';

/** A picture of an image or a video: a sky, a sun and a sea. */
export function pictureOf(name: string): string | null {
  const [width, height] = /\.(mp4|mov)$/.test(name) ? [320, 180] : /\.(png|jpg)$/.test(name) ? [240, 320] : [];
  if (width === undefined || height === undefined) return null;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#f2b880"/><circle cx="62%" cy="48%" r="14%" fill="#fff3d6"/><rect y="60%" width="100%" height="40%" fill="#2c6e8f"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** What has arrived: the sandbox gives a file over four connections, everybody else over one. */
export function piecesOf({ kind, service, bytes, total }: Transfer): Extent[] {
  if (bytes === 0) return [];
  if (kind === 'upload' || service !== 'sandbox' || total === undefined || bytes >= total)
    return [{ start: 0, end: bytes }];
  return [0.45, 0.2, 0.05, 0.3].map((share, index) => {
    const start = (total / 4) * index;
    return { start, end: Math.min((total / 4) * (index + 1), start + bytes * share) };
  });
}

const diskFull: Failure = {
  code: 'disk_full',
  what: { is: 'no_room' },
  why: { is: 'more_needed', needed: 1.4 * GB, folder: '/media/ada/Data' },
  advice: { is: 'make_room' },
  remedy: 'free_space',
};

function busy(): Transfer[] {
  return [
    transfer({
      name: 'interview-raw.mp4',
      kind: 'upload',
      state: { is: 'running' },
      stage: 'sending',
      bytes: 816 * MB,
      total: 1200 * MB,
      speed: 38 * MB,
      seconds_left: 12,
      path: '/home/ada/Footage/interview-raw.mp4',
      asset_id: 're_77aa02e91c55',
    }),
    transfer({
      name: 'lecture 4 – Füße & Schuhe.mp4',
      service: 'offline-tube',
      state: { is: 'running' },
      stage: 'preparing',
      stage_percent: 41,
      host: 'media.example.org',
    }),
    transfer({
      name: 'VI583041773.mp4',
      service: 'visual-search',
      state: { is: 'running' },
      stage: 'fetching',
      bytes: 214 * MB,
      speed: 41 * MB,
      asset_id: 'VI583041773',
    }),
    failed('archive-2019.zip', diskFull, {
      bytes: 6.9 * GB,
      total: 8.3 * GB,
      path: '/media/ada/Data/archive-2019.zip',
    }),
    transfer({
      name: 'panel discussion – day 2.mov',
      state: { is: 'verifying' },
      stage: 'verifying',
      bytes: 5.8 * GB,
      total: 5.8 * GB,
    }),
    transfer({
      name: 'b-roll harbour.mov',
      kind: 'upload',
      state: { is: 'running' },
      stage: 'sending',
      wait: { reason: 'retry', until: Date.now() + 40_000, what: { is: 'connection_broke' }, why: null },
      bytes: 402 * MB,
      total: 2.1 * GB,
    }),
    transfer({ name: 'transcripts.json', kind: 'upload', state: { is: 'queued' }, total: 48 * MB }),
    transfer({ name: 'subtitles.srt', kind: 'upload', state: { is: 'queued' }, total: 92_000 }),
    transfer({
      name: 'drone flight.mkv',
      service: 'sandbox',
      state: { is: 'paused' },
      bytes: 1.1 * GB,
      total: 3.4 * GB,
    }),
    completed('keynote-final.mp4', 2.4 * GB, 2 * MINUTE),
    completed('informe anual (1).pdf', 18 * MB, 3 * HOUR, { service: 'link', verified: 'length', checksum: undefined }),
    completed('theme music.flac', 61 * MB, 26 * HOUR, { kind: 'upload', verified: 'md5' }),
    transfer({
      name: 'wrong take.mp4',
      kind: 'upload',
      state: { is: 'canceled' },
      total: 900 * MB,
      bytes: 120 * MB,
      ended_at: Date.now() - 27 * HOUR,
    }),
    completed('photos of the site.zip', 740 * MB, 50 * HOUR, { verified: 'sha256' }),
    completed('cover.png', 2.1 * MB, 75 * HOUR, { kind: 'upload' }),
  ];
}

/** One of each code, with the words of the engine's own table. */
export const failures: Failure[] = [
  {
    code: 'unauthorized',
    what: { is: 'key_refused', service: 'mavi' },
    why: '“Invalid API key”, code 0401, HTTP 401, upload/signed-url',
    advice: { is: 'enter_key' },
    remedy: 'enter_key',
  },
  {
    code: 'rate_limited',
    what: { is: 'pause_asked', service: 'mavi' },
    why: 'HTTP 429, upload/signed-url',
    advice: { is: 'wait_a_little' },
    remedy: 'retry',
  },
  {
    code: 'not_found',
    what: { is: 'asset_unknown', service: 'mavi', id: 're_000' },
    why: null,
    advice: { is: 'check_id_or_link' },
    remedy: 'remove',
  },
  {
    code: 'not_ready',
    what: { is: 'item_not_finished', service: 'visual-search' },
    why: 'HTTP 409, download',
    advice: { is: 'try_when_finished' },
    remedy: 'retry',
  },
  {
    code: 'service_error',
    what: { is: 'service_refused', service: 'mavi' },
    why: '“The title is too long”, code 0001, HTTP 400, upload/signed-url',
    advice: { is: 'read_the_reason' },
    remedy: 'retry',
  },
  {
    code: 'bad_response',
    what: { is: 'sent_page', service: 'offline-tube' },
    why: null,
    advice: { is: 'check_address_and_sign_in' },
    remedy: 'check_service',
  },
  {
    code: 'incomplete',
    what: { is: 'came_incomplete' },
    why: { is: 'only_arrived', done: 12 * MB, total: 40 * MB },
    advice: { is: 'try_again_arrived_kept' },
    remedy: 'retry',
  },
  {
    code: 'integrity_mismatch',
    what: { is: 'not_as_described' },
    why: { is: 'checksum_came', algorithm: 'crc32c', got: '9a3b51c7', expected: '00d1fe22' },
    advice: { is: 'start_over_or_damaged' },
    remedy: 'start_over',
  },
  {
    code: 'integrity_mismatch',
    what: { is: 'store_has_other' },
    why: { is: 'checksum_there', algorithm: 'crc32c', there: '00d1fe22', here: '9a3b51c7' },
    advice: { is: 'delete_wrong_asset' },
    remedy: 'delete_asset',
  },
  {
    code: 'changed_at_source',
    what: { is: 'keeps_changing' },
    why: null,
    advice: { is: 'start_over_for_new_version' },
    remedy: 'start_over',
  },
  {
    code: 'expired_url',
    what: { is: 'signed_url_expired' },
    why: '“Request has expired”, HTTP 403',
    advice: { is: 'sign_again' },
    remedy: 'sign_again',
  },
  {
    code: 'expired_url',
    what: { is: 'signed_url_expired' },
    why: 'HTTP 403',
    advice: { is: 'get_new_link' },
    remedy: 'new_link',
  },
  diskFull,
  {
    code: 'permission_denied',
    what: { is: 'file_failed', doing: 'Opening', path: '/home/ada/Footage/take 14.mp4' },
    why: 'permission denied',
    advice: { is: 'make_readable' },
    remedy: 'choose_file',
  },
  {
    code: 'file_too_large',
    what: { is: 'file_failed', doing: 'Writing to', path: '/media/ada/Data/take 15.mp4' },
    why: 'file too large',
    advice: { is: 'choose_larger_disk' },
    remedy: 'choose_folder',
  },
  {
    code: 'path_too_long',
    what: { is: 'file_failed', doing: 'Creating', path: '/media/ada/Data/take 16.mp4.ferrypart' },
    why: 'file name too long',
    advice: { is: 'choose_shorter_path' },
    remedy: 'choose_folder',
  },
  {
    code: 'permission_denied',
    what: { is: 'file_failed', doing: 'Creating', path: '/media/ada/Data/take 17.mp4.ferrypart' },
    why: 'permission denied',
    advice: { is: 'choose_writable_folder' },
    remedy: 'choose_folder',
  },
  {
    code: 'source_missing',
    what: { is: 'file_failed', doing: 'Opening', path: '/home/ada/Footage/take 18.mp4' },
    why: 'no such file or directory',
    advice: { is: 'put_file_back' },
    remedy: 'choose_file',
  },
  {
    code: 'source_changed',
    what: { is: 'source_changed', path: '/home/ada/Footage/take 19.mp4' },
    why: null,
    advice: { is: 'send_when_still' },
    remedy: 'start_over',
  },
  {
    code: 'network',
    what: { is: 'server_not_reached' },
    why: 'connection refused',
    advice: { is: 'check_network_confirmed_kept' },
    remedy: 'retry',
  },
  {
    code: 'timed_out',
    what: { is: 'nothing_moved', seconds: 30 },
    why: null,
    advice: { is: 'try_again_confirmed_kept' },
    remedy: 'retry',
  },
  {
    code: 'tls',
    what: { is: 'no_secure_connection' },
    why: 'invalid peer certificate: Expired',
    advice: { is: 'check_address_and_clock' },
    remedy: 'check_service',
  },
  {
    code: 'insecure_redirect',
    what: { is: 'redirect_unencrypted' },
    why: null,
    advice: { is: 'ask_for_direct_link' },
    remedy: 'new_link',
  },
  {
    code: 'unsupported',
    what: { is: 'no_uploads_there', service: 'visual-search' },
    why: null,
    advice: { is: 'use_another_service' },
    remedy: 'check_service',
  },
  {
    code: 'invalid_input',
    what: { is: 'link_unusable' },
    why: { is: 'with_user_name' },
    advice: { is: 'correct_it' },
    remedy: 'remove',
  },
  {
    code: 'internal',
    what: { is: 'sandbox_not_started' },
    why: null,
    advice: { is: 'send_report' },
    remedy: 'report',
  },
];

/** A row in each state and stage, and in each wait. */
export function rows(): Transfer[] {
  const moving = (name: string, of: Partial<Transfer>) =>
    transfer({ name, state: { is: 'running' }, total: 1.2 * GB, ...of });
  const inFlight = { bytes: 816 * MB, speed: 38 * MB, seconds_left: 12 };
  const waits = (reason: WaitReason, what: Words, until: number | null = null, why: Words | null = null) =>
    moving(`waits-${reason}.mov`, { stage: 'sending', bytes: 402 * MB, wait: { reason, what, why, until } });
  return [
    moving('sending.mp4', { kind: 'upload', stage: 'sending', ...inFlight }),
    moving('fetching.mp4', { stage: 'fetching', ...inFlight }),
    moving('size-unknown.mp4', { stage: 'fetching', ...inFlight, total: undefined, seconds_left: undefined }),
    moving('just-started.mp4', { stage: 'fetching', speed: 0 }),
    moving('slow.mp4', { stage: 'fetching', bytes: 14, total: 92_000, speed: 14 }),
    moving('preparing.mp4', { stage: 'preparing', stage_percent: 41, total: undefined }),
    moving('preparing-unknown.mp4', { stage: 'preparing', total: undefined }),
    moving('checking.mp4', { stage: 'checking' }),
    moving('signing.mp4', { kind: 'upload', stage: 'signing' }),
    moving('confirming.mp4', { kind: 'upload', stage: 'confirming', bytes: 1.2 * GB }),
    moving('publishing.mp4', { stage: 'publishing', bytes: 1.2 * GB }),
    moving('removing.mp4', { stage: 'removing', bytes: 1.2 * GB }),
    transfer({ name: 'verifying.mp4', state: { is: 'verifying' }, stage: 'verifying', bytes: 5 * GB, total: 5 * GB }),
    waits('retry', { is: 'connection_broke' }, Date.now() + 40_000),
    waits('rate_limit', { is: 'pause_asked', service: 'mavi' }, Date.now() + 90_000, 'HTTP 429'),
    waits('network', { is: 'no_network' }),
    waits('key', { is: 'no_key_yet', service: 'mavi' }),
    waits('space', diskFull.what, null, diskFull.why),
    transfer({ name: 'next.json', kind: 'upload', state: { is: 'queued' }, total: 48 * MB }),
    transfer({ name: 'queued.json', kind: 'upload', state: { is: 'queued' }, total: 92_000 }),
    transfer({ name: 'queued-begun.mp4', state: { is: 'queued' }, bytes: 30 * MB, total: 48 * MB }),
    transfer({ name: 'paused.mkv', state: { is: 'paused' }, bytes: 1.1 * GB, total: 3.4 * GB }),
    completed('verified.mp4', 2.4 * GB, 2 * MINUTE),
    completed('length-checked.mp4', 18 * MB, 3 * HOUR, { verified: 'length', checksum: undefined }),
    completed('unproven.mp4', 18 * MB, 3 * HOUR, {
      verified: 'none',
      checksum: undefined,
      note: { is: 'no_size_no_checksum' },
    }),
    transfer({ name: 'canceled.mp4', kind: 'upload', state: { is: 'canceled' }, total: 9 * MB, ended_at: Date.now() }),
    completed(`${'a name that is much longer than any window is wide '.repeat(6)}.mp4`, 2.4 * GB, 2 * MINUTE),
  ];
}

rows.failed = (name: string, failure: Failure) =>
  failed(name, failure, { bytes: 12 * MB, total: 40 * MB, asset_id: 're_000', path: `/home/ada/Downloads/${name}` });

/** A service in each of the states that its card can show. */
export function cards() {
  const [mavi, visual, media, sandbox] = makeServices(true);
  if (!mavi || !visual || !media || !sandbox) throw new Error('there are four services');
  const [refused] = failures;
  const report = (service: string, of: Partial<CheckReport> = {}): CheckReport => ({
    service,
    reached_in: 84,
    tls: true,
    key_accepted: true,
    problem: null,
    now_default: false,
    ...of,
  });
  const services: ServiceStatus[] = [
    mavi,
    { ...mavi, id: 'refused', name: 'Key refused', problem: refused ?? null },
    { ...visual, id: 'checked', name: 'Checked' },
    { ...visual, id: 'checking', name: 'Being checked' },
    { ...visual, id: 'unreached', name: 'Out of reach' },
    { ...mavi, id: 'missing', name: 'Without a key', key: 'missing', ready: false },
    { ...visual, id: 'memory', name: 'Key in memory', key: 'memory' },
    { ...mavi, id: 'elsewhere', name: 'Key of another address', ready: false, key_belongs_to: 'https://mavi.example' },
    { ...visual, id: 'variable', name: 'From the environment', key: 'variable', address_from_variable: true },
    visual,
    media,
    sandbox,
  ];
  const checks: Record<string, CheckReport> = {
    checked: report('checked'),
    unreached: report('unreached', {
      reached_in: null,
      key_accepted: null,
      problem: {
        code: 'network',
        what: { is: 'server_not_found' },
        why: null,
        advice: { is: 'check_address_and_network' },
        remedy: 'check_service',
      },
    }),
  };
  return { services, checks, checking: { checking: true } };
}

function many(count: number): Transfer[] {
  const all: Transfer[] = [];
  for (let index = 0; index < count; index += 1) {
    const name = `clip ${String(index + 1).padStart(6, '0')}.mp4`;
    if (index < 3) {
      const total = (800 + index * 100) * MB;
      all.push(
        transfer({
          name,
          kind: 'upload',
          state: { is: 'running' },
          stage: 'sending',
          bytes: total / 2,
          total,
          speed: 12 * MB,
          seconds_left: 40,
        }),
      );
    } else if (index % 3 === 0) all.push(completed(name, (index % 900) * MB, index * 1000));
    else all.push(transfer({ name, kind: 'upload', state: { is: 'queued' }, total: (index % 700) * MB }));
  }
  return all;
}

const offline = (): Transfer[] =>
  ['harbour pan.mov', 'interview-raw.mp4', 'notes.pdf'].map((name, index) =>
    transfer({
      name,
      kind: index === 0 ? 'upload' : 'download',
      state: { is: 'running' },
      stage: index === 0 ? 'sending' : 'fetching',
      wait: { reason: 'network', until: null, what: { is: 'no_network' }, why: null },
      bytes: (index + 1) * 210 * MB,
      total: 1.2 * GB,
    }),
  );

function makeAssets(): Asset[] {
  const now = Date.now();
  const asset = (name: string, asset_id: string, size: number | null, ago: number, of: Partial<Asset> = {}): Asset => ({
    service: 'mavi',
    asset_id,
    name,
    size,
    crc32c: '9a3b51c7',
    status: 'confirmed',
    at: now - ago,
    ...of,
  });
  return [
    asset('keynote-final.mp4', 're_8f31c0d4b7a2', 2.4 * GB, 2 * MINUTE),
    asset('interview-raw.mp4', 're_77aa02e91c55', 1.2 * GB, 11 * MINUTE, { status: 'begun', crc32c: null }),
    asset('panel discussion – day 2.mov', 're_1b6f3de0a410', 5.8 * GB, 26 * HOUR),
    asset('transcripts.json', 're_c0ffee118d21', 48 * MB, 26 * HOUR, { status: 'sent' }),
    asset('VI583041773.mp4', 'VI583041773', null, 50 * HOUR, {
      service: 'visual-search',
      status: 'seen',
      crc32c: null,
    }),
    asset('archive-2018.zip', 're_90d2b1c7f3aa', 8.1 * GB, 75 * HOUR, { status: 'abandoned' }),
    asset('theme music.flac', 're_4400ab12cd34', 61 * MB, 99 * HOUR),
    asset('cover.png', 're_5511bc23de45', 2.1 * MB, 123 * HOUR, { service: 'sandbox' }),
    asset('rough cut 3.mov', 're_6622cd34ef56', 3.9 * GB, 171 * HOUR, { status: 'deleted' }),
    asset('informe anual.pdf', 're_7733de45f067', 18 * MB, 340 * HOUR),
  ];
}

const timelineOf = (id: number, texts: Words[]): [number, TimelineEntry[]] => [
  id,
  texts.map((text, index) => ({ at: Date.now() - (texts.length - index) * 14_000, text })),
];

/** Everything as it stands when this scenario begins. */
export function world(scenario: Scenario): World {
  lastId = 0;
  const fresh = scenario === 'first-run' || scenario === 'empty';
  const transfers: Record<Scenario, () => Transfer[]> = {
    'first-run': () => [],
    empty: () => [],
    unreachable: () => [],
    busy,
    done: () => busy().filter((one) => one.state.is === 'completed'),
    failed: () =>
      failures.map((failure, index) =>
        failed(`take ${index + 1}.mp4`, failure, {
          total: 40 * MB,
          bytes: (index % 4) * 10 * MB,
          asset_id: 're_000',
          kind: index % 2 ? 'upload' : 'download',
        }),
      ),
    long: () => many(3_000),
    many: () => many(100_000),
    offline,
    broken: () => [
      ...failures.slice(0, 1).map((failure) => failed('trailer.mp4', failure, { kind: 'upload', total: 320 * MB })),
      ...failures.slice(10, 13).map((failure, index) =>
        failed(['archive.zip', 'shared reel.mov', 'archive-2019.zip'][index] ?? '', failure, {
          bytes: [0, 0, 6.9 * GB][index] ?? 0,
          total: [700 * MB, undefined, 8.3 * GB][index],
          kind: index === 0 ? 'upload' : 'download',
        }),
      ),
      ...failures
        .slice(17, 18)
        .map((failure) => failed('missing take.mp4', failure, { kind: 'upload', total: 90 * MB })),
      ...offline(),
      completed('keynote-final.mp4', 2.4 * GB, 2 * MINUTE),
    ],
  };
  const services = makeServices(!fresh);
  if (scenario === 'broken') {
    const mavi = services.find((service) => service.id === 'mavi');
    if (mavi)
      mavi.problem = {
        code: 'unauthorized',
        what: { is: 'key_refused', service: 'mavi' },
        why: null,
        advice: { is: 'enter_key' },
        remedy: 'enter_key',
      };
  }
  return {
    transfers: transfers[scenario](),
    opening: {
      services,
      settings: { ...settings, default_service: fresh ? 'sandbox' : 'mavi', welcomed: scenario !== 'first-run' },
      downloads_folder: '/home/ada/Downloads',
      notices: scenario === 'broken' ? [{ is: 'picked_up', count: 3 }] : [],
    },
    assets: fresh ? [] : makeAssets(),
    timelines: new Map([
      timelineOf(1, [
        { is: 'signed_by', service: 'mavi' },
        { is: 'session_opened' },
        { is: 'tried_again', what: { is: 'connection_broke' }, seconds: 2 },
        { is: 'store_has', done: 402 * MB },
        // As an earlier Ferry wrote it.
        'Sending to the store',
      ]),
    ]),
  };
}
