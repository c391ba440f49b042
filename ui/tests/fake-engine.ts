/**
 * An engine for the browser: answers the window's commands from a scenario and moves bytes by itself.
 * It takes the place of `window.__TAURI_INTERNALS__` before the page starts and is no part of what is shipped.
 */
import type { InvokeArgs } from '@tauri-apps/api/core';

import type { Commands } from '../src/engine/client';
import type { Held } from '../src/engine/ipc';
import type {
  Asset,
  Failure,
  KeyState,
  Language,
  LinkOffer,
  ListChanges,
  Recognised,
  SentBefore,
  ServiceStatus,
  Settings,
  SpeedSample,
  State,
  Transfer,
  TransferId,
  Words,
} from '../src/engine/types';
import { FakeListing } from './fake-listing';
import { curveOf, missing, pictureOf, piecesOf, type Scenario, transfer, world } from './scenarios';

/** Commands that this engine does not answer at once. */
type Late = 'upload' | 'asset_info' | 'copy_text' | 'paste_text';

type Answers = {
  [C in keyof Commands]: C extends Late
    ? (...args: Parameters<Commands[C]>) => ReturnType<Commands[C]> | Promise<ReturnType<Commands[C]>>
    : Commands[C];
};

interface Change {
  changed?: Transfer[];
  removed?: TransferId[];
  services?: ServiceStatus[];
  settings?: Settings;
  shelved?: Asset[];
}

/** What tests see of it, as `window.fake`. */
export interface Fake {
  /** Commands in the order they came, without those that only read. */
  calls: { command: string; args: unknown }[];
  /** Sends changes as the engine would; `skip` leaves revisions out. */
  change: (change: Change, skip?: number) => void;
  /** The transfers as the engine holds them. */
  transfers: () => Transfer[];
  edit: (id: TransferId, change: Partial<Transfer>) => void;
  /** Files held over, moved across, let go on or taken away from the window. */
  drag: (type: 'enter' | 'over' | 'drop' | 'leave', x?: number, y?: number, paths?: string[]) => void;
  /** One step of moving bytes. */
  step: (seconds?: number) => void;
  /** How often the list was opened. */
  openings: number;
  /** The answer to a look comes so many milliseconds late: what is told meanwhile comes before it. */
  slow: number;
  /** A command that is refused. */
  refused: string | null;
  /** A `ferry://` link that proposes this; nothing = one that is refused. */
  link: (shown: string) => void;
  /** A command chosen in the menu bar of a Mac. */
  command: (id: string) => void;
  /** What is chosen in the next menu, by its words; nothing = it is closed. */
  choice: string | null;
  /** What the user says to a question of the desktop's. */
  agrees: boolean;
  /** Whether the desktop shows tray icons. */
  tray: boolean;
  /** Whether this computer has a keychain. */
  keychain: boolean;
  /** No service is there to be checked. */
  unreached: boolean;
  /** A file comes into the library. */
  shelve: (name: string) => void;
  /** How often the pictures of the details were asked for. */
  looks: number;
}

type Handler = (event: { event: string; id: number; payload: unknown }) => void;

declare global {
  interface Window {
    fake: Fake;
  }
}

/** What is kept of the settings while the window is loaded again. */
const LANGUAGE = 'fake engine: language';

/** A failure as it is written down here. Its own type: to TypeScript, parts of unions this large are too complex. */
interface Refusal {
  what: Words;
  code?: Failure['code'];
  why?: Words | null;
  advice?: Words;
  remedy?: Failure['remedy'];
}

const refuse = (failure: Refusal): never => {
  // Commands fail with plain data, as they do across the real border.
  // eslint-disable-next-line @typescript-eslint/only-throw-error
  throw {
    code: failure.code ?? 'invalid_input',
    what: failure.what,
    why: failure.why ?? null,
    advice: failure.advice ?? { is: 'correct_it' },
    remedy: failure.remedy ?? 'remove',
  } satisfies Failure;
};

export function start(scenario: Scenario, live = true): void {
  const { transfers, opening, assets, timelines } = world(scenario);
  const callbacks = new Map<number, Handler>();
  const listeners = new Map<string, Set<number>>();
  let offered: LinkOffer | null = null;
  const newKeys = new Set<string>();
  const curves = new Map<TransferId, SpeedSample[]>();
  let endComparing: ((failure: Failure) => void) | undefined;
  let nextCallback = 1;
  let steps = 0;
  let { services, settings, downloads_folder } = opening;
  const list = new FakeListing(transfers, (id) => services.find((one) => one.id === id)?.name ?? id);
  // A window that is loaded again finds what it chose before.
  settings = { ...settings, language: (sessionStorage.getItem(LANGUAGE) as Language | null) ?? settings.language };

  const emit = (event: string, payload: unknown) => {
    for (const id of listeners.get(event) ?? []) callbacks.get(id)?.({ event, id, payload });
  };

  function change({ changed, removed, services: told, settings: set, shelved }: Change, skip = 0) {
    changed?.forEach((one) => list.put(one));
    removed?.forEach((id) => list.delete(id));
    if (fake.openings === 0) return;
    list.revision += skip;
    const news: ListChanges = {
      list: list.tell(),
      ended: list.ended(),
      services: told ?? null,
      settings: set ?? null,
      downloads_folder: set ? downloads_folder : null,
      library: shelved ? { changed: shelved, read_anew: false } : null,
    };
    emit('transfers-changed', news);
  }

  function shelve({ asset_id, name }: Pick<Asset, 'asset_id' | 'name'>) {
    const asset: Asset = { service: 'mavi', asset_id, name, size: 5, crc32c: null, status: 'sent', at: Date.now() };
    assets.unshift(asset);
    change({ shelved: [asset] });
  }

  const set = (ids: TransferId[], edit: (one: Transfer) => Partial<Transfer>) =>
    change({
      changed: ids.flatMap((id) => {
        const one = list.get(id);
        return one ? [{ ...one, ...edit(one) }] : [];
      }),
    });

  const stopped = { speed: undefined, seconds_left: undefined, stage: undefined, wait: undefined };
  const to =
    (state: State, more: Partial<Transfer> = {}) =>
    ({ ids }: { ids: TransferId[] }) =>
      set(ids, () => ({ state, ...stopped, ...more }));

  function changeService(id: string, edit: Partial<ServiceStatus>) {
    services = services.map((service) => (service.id === id ? { ...service, ...edit } : service));
    change({ services });
  }

  const open = (id: TransferId) => {
    const one = list.get(id);
    if (one?.name !== missing) return;
    const what = { is: 'file_gone', path: one.path ?? '' } as const;
    refuse({ code: 'source_missing', what, advice: { is: 'put_it_back' }, remedy: 'choose_file' });
  };

  const commands: Answers = {
    open: ({ look, fresh }) => {
      fake.openings += 1;
      if (fresh) list.showAll();
      if (scenario === 'unreachable' && fake.openings === 1)
        refuse({
          code: 'busy_data_dir',
          what: { is: 'other_ferry', folder: '/home/ada/.local/share/ferry' },
          why: null,
          remedy: 'retry',
        });
      return { ...opening, list: list.look(look), services, settings, downloads_folder };
    },
    look: ({ look }) => list.look(look),
    rows: ({ ids }) => ids.flatMap((id) => list.get(id) ?? []),
    which: ({ ids, can }) => list.which(ids, can),
    between: ({ from, to }) => list.between(from, to),
    day: ({ hours }) => list.day(hours),
    pick_files: ({ folders }) =>
      folders ? ['/home/ada/Footage'] : ['/home/ada/clip one.mp4', '/home/ada/clip two.mp4'],
    summarise: ({ paths }) => {
      if (paths.some((path) => path.includes('empty'))) refuse({ what: { is: 'no_files_given' } });
      return { files: paths.length === 1 ? 1 : 214, folders: paths.length > 1 ? 2 : 0, bytes: 3_100_000_000 };
    },
    upload: ({ request: { paths, service: wanted, if_sent } }) => {
      if (if_sent === 'ask' && paths.some((path) => path.includes('endless')))
        return new Promise<never>((_, reject) => (endComparing = reject));
      const service = wanted ?? settings.default_service;
      const nameOf = (path: string) => path.split('/').pop() ?? path;
      // Here the end of a name stands for the content.
      const sentAs = (path: string) =>
        assets.find(
          (asset) => asset.service === service && asset.status === 'confirmed' && nameOf(path).endsWith(asset.name),
        );
      const sent = if_sent === 'again' ? [] : paths.filter(sentAs);
      if (if_sent === 'ask' && sent.length > 0) {
        const examples = sent.slice(0, 4).flatMap((path) => {
          const asset = sentAs(path);
          return asset ? [{ name: nameOf(path), asset }] : [];
        });
        const bytes = sent.reduce((sum, path) => sum + (sentAs(path)?.size ?? 0), 0);
        const question: SentBefore = { service, files: paths.length, sent: sent.length, bytes, examples };
        const answer = { ids: [], new: [], reused: 0, skipped: 0, links: { count: 0, paths: [] }, question };
        return paths.some((path) => path.includes('large'))
          ? new Promise((resolve) => setTimeout(() => resolve(answer), 1_200))
          : answer;
      }
      const left = if_sent === 'skip' ? paths.filter((path) => !sentAs(path)) : paths;
      const made = left.map((path) =>
        transfer({
          name: nameOf(path),
          kind: 'upload',
          service,
          state: { is: 'queued' },
          total: 320_000_000,
          path,
          added_at: Date.now(),
          ...(if_sent === 'reuse' && sent.includes(path)
            ? {
                state: { is: 'completed' },
                note: { is: 'sent_before', service },
                asset_id: sentAs(path)?.asset_id,
                verified: 'length',
                bytes: 320_000_000,
                ended_at: Date.now(),
              }
            : {}),
        }),
      );
      change({ changed: made });
      const reused = if_sent === 'reuse' ? sent.length : 0;
      const links = { count: 0, paths: [] };
      const ids = made.map((one) => one.id);
      return { ids, new: ids, reused, skipped: paths.length - left.length, links, question: null };
    },
    stop_comparing: () => {
      // Commands fail with plain data, as they do across the real border.
      endComparing?.({
        code: 'canceled',
        what: { is: 'stopped' },
        why: null,
        advice: { is: 'start_whenever_you_like' },
        remedy: 'retry',
      } satisfies Failure);
    },
    download: ({ request }) => {
      if (request.what.includes('refused')) refuse({ what: { is: 'link_unusable' }, why: { is: 'with_user_name' } });
      const name = request.what.split('/').pop() || request.what;
      const service = request.service ?? settings.default_service;
      const same = list.all.find(
        (one) => one.name === name && one.service === service && !['completed', 'canceled'].includes(one.state.is),
      );
      if (same) return { id: same.id, is_new: false };
      const one = transfer({
        name,
        service,
        state: { is: 'running' },
        stage: 'fetching',
        total: 67_108_864,
        speed: 24_000_000,
        added_at: Date.now(),
      });
      change({ changed: [one] });
      return { id: one.id, is_new: true };
    },
    recognise: ({ text }) => {
      const link = /^(?:https?:\/\/)?([^/]+\.[^/]+)\//.exec(`${text}/`);
      const found = (service: string, label: string): Recognised => ({
        service,
        label,
        ready: services.find((one) => one.id === service)?.ready ?? false,
        host: link?.[1] ?? null,
      });
      if (link) return [found('link', `Link to ${link[1]}`), found('offline-tube', 'Page for the media server')];
      if (text.startsWith('re_')) return [found('mavi', 'Asset at MAVI'), found('sandbox', 'Asset in the sandbox')];
      if (text.startsWith('VI')) return [found('visual-search', 'Video at Visual Search')];
      return [];
    },
    pause: to({ is: 'paused' }),
    resume: to({ is: 'queued' }),
    cancel: to({ is: 'canceled' }, { ended_at: Date.now() }),
    retry: to({ is: 'queued' }, { ended_at: undefined }),
    remove: ({ ids }) => {
      const unknown = ids.find((id) => !list.get(id));
      if (unknown !== undefined) refuse({ what: { is: 'transfer_unknown', id: unknown } });
      change({ removed: ids });
    },
    hide: ({ ids }) => {
      const hidden = list.hide(ids);
      if (hidden.paused.length > 0) commands.pause({ ids: hidden.paused });
      else change({});
      return hidden;
    },
    unhide: ({ ids }) => {
      list.unhide(ids);
      change({});
    },
    move_rows: ({ ids, to }) => {
      list.move(ids, to);
      change({});
    },
    move_behind: ({ ids, above }) => {
      list.moveBehind(ids, above);
      change({});
    },
    take_back: ({ ids }) => {
      const added = ids.filter((id) => list.get(id));
      const wasThere = ({ note }: Transfer) => typeof note === 'object' && note.is === 'sent_before';
      const ended = added.filter((id) => {
        const row = list.get(id);
        return row?.state.is === 'completed' && !wasThere(row);
      });
      const removed = added.filter((id) => !ended.includes(id));
      change({ removed });
      return { taken: removed.length, ended };
    },
    timeline: ({ id }) => timelines.get(id) ?? [{ at: Date.now() - 9_000, text: { is: 'signed_by', service: 'mavi' } }],
    pictures: ({ id }) => {
      fake.looks += 1;
      const one = list.get(id);
      return { speeds: curves.get(id) ?? (one ? curveOf(one) : []), pieces: one ? piecesOf(one) : [] };
    },
    thumbnail: ({ id }) => {
      const one = list.get(id);
      return one?.state.is === 'completed' ? pictureOf(one.name) : null;
    },
    file_there: ({ id }) => list.get(id)?.name !== missing,
    show_in_folder: ({ id }) => open(id),
    open_file: ({ id }) => open(id),
    can_download_again: ({ id }) => list.get(id)?.asset_id !== undefined,
    download_again: ({ id }) => {
      const one = list.get(id);
      return commands.download({ request: { what: one?.asset_id ?? '', service: one?.service } });
    },
    asset_count: () => assets.length,
    assets: ({ search }) =>
      assets.filter((asset) => `${asset.name} ${asset.asset_id}`.toLowerCase().includes(search.toLowerCase())),
    asset_info: async ({ assetId, service }) => {
      // A service is asked over the network: long enough to be seen.
      await new Promise((resolve) => setTimeout(resolve, 100));
      const asset = assets.find((one) => one.asset_id === assetId);
      return {
        asset_id: assetId,
        name: asset?.name ?? null,
        size: asset?.size ?? null,
        status: service === 'visual-search' ? 'UNPARSE_SOON' : 'SUCCESS',
        created: service === 'visual-search' ? '2026-11-20 18:02:11' : '1767225600000',
      };
    },
    asset_delete: ({ assets: wanted }) => {
      if (!fake.agrees) return { gone: [], failure: null };
      const gone = wanted.map(({ asset_id }) => asset_id);
      const shelved = assets.filter((asset) => gone.includes(asset.asset_id));
      for (const asset of shelved) asset.status = 'deleted';
      change({ shelved: structuredClone(shelved) });
      return { gone, failure: null };
    },
    export_assets: () => '/home/ada/library.csv',
    import_assets: () => {
      const asset_id = 're_from_elsewhere';
      const known = assets.some((asset) => asset.asset_id === asset_id);
      const name = 'from another computer.mp4';
      if (!known) shelve({ asset_id, name });
      return { count: 1, new: known ? 0 : 1 };
    },
    check: ({ service }) => {
      const one = services.find((other) => other.id === service);
      if (fake.unreached) {
        const what = { is: 'server_not_found' } as const;
        const advice = { is: 'check_address_and_network' } as const;
        const problem: Failure = { code: 'network', what, why: null, advice, remedy: 'check_service' };
        return { service, now_default: false, reached_in: null, tls: true, key_accepted: null, problem };
      }
      const accepted = one?.key !== 'unneeded' && one?.problem === null;
      const now_default = accepted && newKeys.delete(service) && settings.default_service === 'sandbox';
      if (now_default) change({ settings: (settings = { ...settings, default_service: service }) });
      return {
        service,
        now_default,
        reached_in: 84,
        tls: service !== 'sandbox',
        key_accepted: one?.key === 'unneeded' ? null : one?.problem === null,
        problem: one?.problem ?? null,
      };
    },
    set_key: ({ service, key: secret }) => {
      const key: KeyState = fake.keychain ? 'keychain' : 'memory';
      newKeys.add(service);
      if (secret.startsWith('bad'))
        changeService(service, {
          key,
          ready: true,
          problem: {
            code: 'unauthorized',
            what: { is: 'key_refused', service },
            why: null,
            advice: { is: 'enter_key' },
            remedy: 'enter_key',
          },
        });
      else changeService(service, { key, ready: true, problem: null });
      return key;
    },
    remove_key: ({ service }) => changeService(service, { key: 'missing', ready: false, problem: null }),
    save_settings: ({ changes }) => {
      const next = { ...settings, ...changes };
      if (next.limit_down !== null && next.limit_down < 1024)
        refuse({ what: { is: 'download_limit_too_low' }, why: null });
      const address = (next as Record<string, unknown>).offline_tube_url as string;
      const { concurrent_uploads: value } = next;
      if (value < 1 || value > 16) refuse({ what: { is: 'uploads_out_of_range', low: 1, high: 16, value } });
      if (address !== '' && !/^https?:/.test(address))
        refuse({ what: { is: 'address_unusable', service: 'offline-tube' }, why: { is: 'without_scheme' } });
      settings = next;
      sessionStorage.setItem(LANGUAGE, settings.language);
      if (services.find((one) => one.id === 'offline-tube')?.address !== address)
        changeService('offline-tube', { address, ready: address !== '' });
      change({ settings });
      return settings;
    },
    tray_there: () => fake.tray,
    reset_settings: () => (settings = { ...opening.settings, density: 'normal', theme: 'system', connections: 16 }),
    export_settings: () => true,
    import_settings: () => (settings = { ...settings, density: 'compact', concurrent_uploads: 7 }),
    link_offer: () => offered,
    answer_link: ({ service }) => {
      const offer = offered;
      offered = null;
      if (!offer || service === null) return null;
      return commands.download({ request: { what: offer.shown, service } }).id;
    },
    open_menu: ({ groups }) => {
      const { choice } = fake;
      const chosen = groups.flat().find((entry) => entry.words === choice);
      if (choice !== null && !chosen?.enabled) throw new Error(`The menu has no ${choice}`);
      fake.choice = null;
      return chosen?.id ?? null;
    },
    set_menu_bar: () => undefined,
    copy_text: ({ text }) => navigator.clipboard.writeText(text),
    paste_text: async () => (await navigator.clipboard.readText()) || null,
    drag_out: () => true,
    choose_folder_for: () => '/media/ada/Data',
    pick_downloads_folder: () => (downloads_folder = '/media/ada/Data'),
    diagnostics: () => 'Ferry 0.1.0\n3 running, 1 failed (disk_full)',
  };

  const quiet = new Set([
    'link_offer',
    'tray_there',
    'pictures',
    'thumbnail',
    'file_there',
    'can_download_again',
    'asset_count',
    'open',
    'look',
    'rows',
    'paste_text',
    'which',
    'between',
    'day',
    'recognise',
    'timeline',
    'assets',
    'summarise',
  ]);

  function invoke(command: string, args: InvokeArgs = {}): Promise<unknown> {
    if (command === 'plugin:event|listen') {
      const { event, handler } = args as { event: string; handler: number };
      listeners.set(event, (listeners.get(event) ?? new Set()).add(handler));
      return Promise.resolve(handler);
    }
    if (command === 'plugin:event|unlisten') {
      const { event, eventId } = args as { event: string; eventId: number };
      listeners.get(event)?.delete(eventId);
      return Promise.resolve();
    }
    const run = commands[command as keyof Commands] as ((args: unknown) => unknown) | undefined;
    if (!run) return Promise.reject(new Error(`There is no command ${command}`));
    // What the page sends is copied, as it is on the way through the real border.
    const copied: unknown = JSON.parse(JSON.stringify(args));
    if (!quiet.has(command)) fake.calls.push({ command, args: copied });
    // Answers come later than the question, as they do across the real border.
    const answer = new Promise<void>((resolve) => setTimeout(resolve)).then(() =>
      command === fake.refused ? refuse({ what: { is: 'list_not_written' } }) : run(copied),
    );
    if (command !== 'look' || fake.slow === 0) return answer;
    return answer.then((list) => new Promise((resolve) => setTimeout(resolve, fake.slow, list)));
  }

  let held = ['/home/ada/Footage', '/home/ada/Stills'];
  const fake: Fake = {
    calls: [],
    link: (shown) => {
      offered ??= { shown, readings: shown ? commands.recognise({ text: shown }) : [] };
      emit('link-opened', null);
    },
    openings: 0,
    slow: 0,
    refused: null,
    tray: true,
    keychain: true,
    unreached: false,
    shelve: (name) => shelve({ asset_id: name, name }),
    choice: null,
    agrees: true,
    command: (id) => emit('command-chosen', id),
    looks: 0,
    change,
    transfers: () => list.all,
    edit: (id, edit) => set([id], () => edit),
    drag: (type, x = 0, y = 0, paths = held) => {
      held = paths;
      const at = { x: x / window.innerWidth, y: y / window.innerHeight };
      const told: Held = type === 'leave' ? { type } : type === 'over' ? { type, ...at } : { type, ...at, paths };
      emit('files-held', told);
    },
    step: (seconds = 0.25) => {
      steps += 1;
      const moving = list.all.filter((one) => one.state.is === 'running' && one.speed !== undefined);
      if (moving.length === 0) return;
      set(
        moving.map((one) => one.id),
        (one) => {
          const wave = 1 + 0.12 * Math.sin(steps / 2.6 + one.id) - 0.09 * Math.cos(steps / 1.1) - 1.1 / (steps + 1);
          const speed = Math.round((one.kind === 'upload' ? 38_000_000 : 41_000_000) * wave);
          const most = one.total === undefined ? Infinity : one.total * 0.99;
          const bytes = Math.min(most, one.bytes + Math.round(speed * seconds * 0.05));
          const seconds_left =
            one.total === undefined ? undefined : Math.max(1, Math.round((one.total - bytes) / speed));
          curves.set(one.id, [...(curves.get(one.id) ?? []), { at: Date.now(), speed }]);
          return { bytes, speed, seconds_left };
        },
      );
    },
  };

  window.fake = fake;
  Object.assign(window, {
    __TAURI_INTERNALS__: {
      invoke,
      transformCallback: (callback: Handler) => {
        const id = nextCallback++;
        callbacks.set(id, callback);
        return id;
      },
      unregisterCallback: (id: number) => callbacks.delete(id),
      metadata: { currentWindow: { label: 'main' }, currentWebview: { label: 'main', windowLabel: 'main' } },
    },
    __TAURI_EVENT_PLUGIN_INTERNALS__: { unregisterListener: () => undefined },
  });
  if (live) setInterval(() => fake.step(), 250);
}
