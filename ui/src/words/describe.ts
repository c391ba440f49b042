/** A transfer in words: what its row shows and what a screen reader says. Never says more than the engine has confirmed. */
import { m } from '../paraglide/messages.js';
import * as format from './format';
import { checksums, ENGINE_LANGUAGE, isOwn, say, sayHere, sentences, speaksAsEngine, translated } from './phrases';
import type { Code, Failure, Recognised, Stage, Transfer, Verified, Wait, Words } from '../engine/types';

/** Undetermined: what services and systems say comes in any language. */
const UNKNOWN_LANGUAGE = 'und';

export interface Progress {
  /** 0 to 1; absent = nobody knows how much there will be. */
  fraction: number | null;
  tone: 'accent' | 'soft' | 'bad' | 'still';
  /** Bytes move, or the server works on it. */
  live: boolean;
  /** The main number: `68%`, or `214 MB` where the size is unknown. */
  number: string;
  /** Beside the number. */
  beside: string;
  /** At the far end: speed and time left. */
  end: string;
}

const stages: Record<Stage, () => string> = {
  preparing: m.stage_preparing,
  checking: m.stage_checking,
  fetching: m.stage_fetching,
  signing: m.stage_signing,
  sending: m.stage_sending,
  verifying: m.stage_verifying,
  confirming: m.stage_confirming,
  publishing: m.stage_publishing,
  removing: m.stage_removing,
};

export const stageName = (stage: Stage) => stages[stage]();

/** The badge of something that is done, and what it means in full. */
export function proof(
  verified: Verified | undefined,
  kind: Transfer['kind'],
): { text: string; title: string; strong: boolean } {
  if (verified === undefined || verified === 'none')
    return {
      text: m.verified_none(),
      title: kind === 'upload' ? m.verified_none_sent() : m.verified_none_long(),
      strong: false,
    };
  if (verified === 'length') return { text: m.verified_length(), title: m.verified_length_long(), strong: false };
  const how = checksums[verified];
  return { text: m.verified_by({ how }), title: m.verified_long({ how }), strong: true };
}

const ALMOST = 0.99;

const isMoving = (transfer: Transfer) => transfer.speed !== undefined && transfer.speed > 0;

/** How much is there, 0 to 1. Full only when the engine says so. */
function fractionOf({ bytes, total, state }: Transfer): number | null {
  if (state.is === 'completed') return 1;
  if (total === undefined) return null;
  // All bytes are not yet a proven file: 100 % waits for the proof.
  return total === 0 ? 0 : Math.min(ALMOST, bytes / total);
}

/** Why it stands still, as a short phrase. */
export function waiting(wait: Wait, now: number): string {
  const time = wait.until === null ? null : format.duration(Math.max(0, (wait.until - now) / 1000));
  switch (wait.reason) {
    case 'retry':
      return time === null ? m.wait_retry() : m.wait_retry_in({ time });
    case 'rate_limit':
      return time === null ? m.wait_rate_limit_open() : m.wait_rate_limit({ time });
    case 'network':
      return m.wait_network();
    case 'key':
      return m.wait_key();
    case 'quota':
      return m.wait_quota();
    case 'space':
      return m.wait_space();
    case 'answer':
      return m.wait_answer();
    case 'folder':
      return m.wait_folder();
  }
}

/** The bar of a row and its numbers; nothing for rows that show a badge instead. `now` is asked for only while a clock counts down. */
export function progress(transfer: Transfer, now: () => number): Progress | null {
  const { state, stage, stage_percent, wait, bytes, total, speed, seconds_left } = transfer;
  const carries = stage === undefined || stage === 'fetching' || stage === 'sending';
  const fraction = fractionOf(transfer);
  const moved = bytes === 0 ? '' : format.bytes(bytes);
  const number = fraction === null ? moved : format.percent(fraction);
  const beside = fraction === null ? '' : moved;
  const still = { fraction: fraction ?? 0, tone: 'still', live: false, number, beside } as const;

  switch (state.is) {
    case 'completed':
    case 'canceled':
      return null;
    case 'queued':
      if (wait) return { ...still, end: waiting(wait, wait.until === null ? 0 : now()) };
      return bytes > 0 ? { ...still, end: m.state_queued_short() } : null;
    case 'paused':
      return { ...still, end: m.state_paused() };
    case 'failed':
      if (bytes === 0) return null;
      return {
        ...still,
        fraction: fraction ?? 1,
        tone: 'bad',
        beside: '',
        end: m.kept({ done: total === undefined ? moved : m.of_total({ done: moved, total: format.bytes(total) }) }),
      };
    case 'verifying':
      return { fraction, tone: 'soft', live: true, number, beside, end: '' };
    case 'running':
      if (wait) return { ...still, end: waiting(wait, wait.until === null ? 0 : now()) };
      if (stage === 'preparing') {
        const part = stage_percent === undefined ? null : Math.min(1, stage_percent / 100);
        return {
          fraction: part,
          tone: 'soft',
          live: true,
          number: part === null ? '' : format.percent(part),
          beside: m.on_the_server(),
          end: '',
        };
      }
      // Before the first byte there is nothing to count: no "0%", no "0 B/s".
      if (bytes === 0 && !isMoving(transfer))
        return {
          fraction,
          tone: carries ? 'accent' : 'soft',
          live: true,
          number: '',
          beside: carries ? m.starting() : '',
          end: '',
        };
      return {
        fraction,
        tone: carries ? 'accent' : 'soft',
        live: true,
        number,
        beside,
        end:
          speed === undefined || speed <= 0
            ? ''
            : [format.speed(speed), seconds_left !== undefined && m.time_left({ time: format.duration(seconds_left) })]
                .filter((part) => part !== false)
                .join(' · '),
      };
  }
}

/** The state in a word or two, for badges and facts. */
export function stateName(transfer: Transfer): string {
  switch (transfer.state.is) {
    case 'queued':
      return m.state_queued();
    case 'running':
      return transfer.stage ? stageName(transfer.stage) : m.state_running();
    case 'verifying':
      return m.state_verifying();
    case 'completed':
      return m.state_completed();
    case 'paused':
      return m.state_paused();
    case 'failed':
      return m.state_failed();
    case 'canceled':
      return m.state_canceled();
  }
}

/** The second line of a row, after the arrow and the service. */
export function subline(transfer: Transfer, now: () => number): string[] {
  const { state, stage, total, wait, note } = transfer;
  const parts: string[] = [];
  if (total !== undefined) parts.push(format.bytes(total));
  if (state.is === 'running' || state.is === 'verifying') {
    // The arrow says which way the bytes go, the end of the row that there is no network: neither is said twice.
    if (wait && wait.reason !== 'network') {
      const why = isOwn(wait.why) ? say(wait.why) : null;
      parts.push(...[sayHere(wait.what), why].filter((part) => part !== null));
    }
    if (!wait && stage && stage !== 'fetching' && stage !== 'sending') parts.push(stageName(stage));
    if (total === undefined && stage !== 'preparing') parts.push(m.size_unknown());
  } else if (transfer.ended_at !== undefined) parts.push(format.when(transfer.ended_at, now()));
  const noted = sayHere(note);
  if (noted !== null) parts.push(noted);
  return parts;
}

const headlines: Record<Code, () => string> = {
  unauthorized: m.error_unauthorized,
  rate_limited: m.error_rate_limited,
  not_found: m.error_not_found,
  not_ready: m.error_not_ready,
  service_error: m.error_service_error,
  bad_response: m.error_bad_response,
  incomplete: m.error_incomplete,
  integrity_mismatch: m.error_integrity_mismatch,
  changed_at_source: m.error_changed_at_source,
  expired_url: m.error_expired_url,
  disk_full: m.error_disk_full,
  file_too_large: m.error_file_too_large,
  path_too_long: m.error_path_too_long,
  permission_denied: m.error_permission_denied,
  source_missing: m.error_source_missing,
  source_changed: m.error_source_changed,
  network: m.error_network,
  timed_out: m.error_timed_out,
  tls: m.error_tls,
  insecure_redirect: m.error_insecure_redirect,
  canceled: m.error_canceled,
  unsupported: m.error_unsupported,
  busy_data_dir: m.error_busy_data_dir,
  invalid_input: m.error_invalid_input,
  quota_exceeded: m.error_quota_exceeded,
  internal: m.error_internal,
};

/** A failure in a few words of the window's language. */
export const headline = (code: Code) => headlines[code]();

/** Codes whose reason a person can act on; elsewhere it is a status or a number, which is for the details. */
const TELLING: ReadonlySet<Code> = new Set(['disk_full', 'service_error', 'incomplete', 'invalid_input']);

/** Of a file that cannot be read the reason is a parser's, for the details. */
const UNREADABLE: ReadonlySet<string> = new Set(['no_settings_in_file', 'no_library_in_file']);

/** A failure as it is shown: what happened, why in the words of others, what to do. */
export interface Told {
  title: string;
  /** As it came, in whatever language. */
  quoted: string;
  /** The language of that, where it is known. */
  lang: string;
  detail: string;
}

/** What happened, why, and the way out: all in the language of the window but the words of others. */
export function failure({ code, what, why, advice }: Pick<Failure, 'code' | 'what' | 'why' | 'advice'>): Told {
  // "The file … could not be used" names the file and not the trouble, which the headline does.
  const vague = isOwn(what) && what.is === 'file_failed';
  const telling = TELLING.has(code) && !(isOwn(what) && UNREADABLE.has(what.is)) ? why : null;
  const happened = vague ? null : sayHere(what);
  const title = happened === null ? [headline(code)] : [happened, ...(isOwn(telling) ? [say(telling)] : [])];
  const quoted: string[] = [];
  if (happened === null && !isOwn(what)) quoted.push(format.sentence(what));
  // Of a service's answer its own words, without the numbers after them.
  if (telling !== null && !isOwn(telling)) quoted.push(/^“[^”]*”/.exec(telling)?.[0] ?? format.sentence(telling));
  const todo = sayHere(advice);
  if (todo === null && !isOwn(advice)) quoted.push(format.sentence(advice));
  return {
    title: sentences(title),
    quoted: quoted.filter(Boolean).join(' '),
    lang: isOwn(what) ? UNKNOWN_LANGUAGE : ENGINE_LANGUAGE,
    detail: sentences([vague ? say(what) : '', todo ?? ''].filter(Boolean)),
  };
}

/** All of it in one text, for where there is one line. */
export const withoutTitle = ({ quoted, detail }: Told) => [quoted, detail].filter(Boolean).join(' ');

/** Why, in full and with its language: for the details. */
export const reason = (why: Words | null): { text: string; lang?: string } | null => {
  if (why === null) return null;
  return isOwn(why) ? { text: say(why) } : { text: why, lang: UNKNOWN_LANGUAGE };
};

/** What is wrong with a service, as one sentence that names it. */
export function problem(service: string, its: Pick<Failure, 'code' | 'what' | 'why' | 'advice'>): string {
  const { title } = failure(its);
  const named = isOwn(its.what) ? 'service' in its.what : speaksAsEngine();
  return named ? title : m.of_name({ action: service, name: title });
}

/** What the add bar made of a text, in the language of the window. */
export const recognised = ({ service, label, host }: Recognised): string =>
  host === null
    ? translated(`service_label_${service}`, label)
    : translated(`service_link_${service}`, label, { host });

/** The words about a service, in the language of the window. Names of products stay as they are. */
export function aboutService<T extends { id: string; name: string; description: string }>(service: T): T {
  const { id, name, description } = service;
  return {
    ...service,
    name: translated(`service_name_${id}`, name),
    description: translated(`service_about_${id}`, description),
  };
}

const there: Record<string, () => string> = {
  waiting: m.there_waiting,
  pending: m.there_waiting,
  uploading: m.there_uploading,
  downloading: m.there_fetching,
  processing: m.there_processing,
  unparse: m.there_unprocessed,
  parse: m.there_ready,
  success: m.there_ready,
  completed: m.there_ready,
  cancelled: m.there_stopped,
};

/** How a file stands at its service, whose word it is: quoted where Ferry does not know it. */
export function statusThere(word: string): string {
  const known = there[word.toLowerCase()];
  if (known) return known();
  return /^(fail|error)|error$/i.test(word) ? m.there_failed() : m.there_other({ word });
}

/** A time as a service writes it: seconds or milliseconds since 1970, or a date in text. */
export function timeThere(written: string): string {
  if (/^\d+(\.\d+)?$/.test(written)) {
    const number = Number(written);
    // In seconds this would be after the year 5000.
    const at = number < 1e11 ? number * 1000 : number;
    // Eight digits are a date, and what is beyond both counts is counted in something else.
    return number >= 1e9 && at < 1e14 ? format.moment(at) : written;
  }
  // A date alone has no time that could be told.
  if (/^\d{4}-\d\d-\d\d$/.test(written.trim())) return written;
  const at = Date.parse(written.trim().replace(/^(\d{4}-\d\d-\d\d) (?=\d)/, '$1T'));
  return Number.isNaN(at) ? written : format.moment(at);
}

/** The row as one sentence: "interview-raw.mp4, uploading to MAVI, 68%, 12 s left". */
export function rowName(transfer: Transfer, service: string, gone = false): string {
  const { state, kind, name, seconds_left, wait } = transfer;
  const parts = [name];
  if (state.is === 'running' || state.is === 'verifying') {
    parts.push(kind === 'upload' ? m.row_uploading({ service }) : m.row_downloading({ service }));
    const fraction = fractionOf(transfer);
    if (wait) parts.push(waiting({ ...wait, until: null }, 0));
    else if (transfer.stage && transfer.stage !== 'fetching' && transfer.stage !== 'sending')
      parts.push(stageName(transfer.stage));
    if (transfer.stage === 'preparing' && transfer.stage_percent !== undefined)
      parts.push(format.percent(transfer.stage_percent / 100));
    if (transfer.bytes > 0) parts.push(fraction === null ? format.bytes(transfer.bytes) : format.percent(fraction));
    if (seconds_left !== undefined && !wait) parts.push(m.time_left({ time: format.duration(seconds_left) }));
  } else {
    parts.push(kind === 'upload' ? m.row_upload({ service }) : m.row_download({ service }), stateName(transfer));
    if (state.is === 'completed') parts.push(gone ? m.file_gone() : proof(transfer.verified, kind).text);
    if (state.is === 'failed') parts.push(failure(state).title);
  }
  if (transfer.origin === 'terminal') parts.push(m.row_from_terminal());
  return parts.join(', ');
}
