/** What the engine says, in the language of the window. A message is named after its sentence: `say_…`. */
import { m } from '../paraglide/messages.js';
import { baseLocale, getLocale } from '../paraglide/runtime.js';
import * as format from './format';
import type { Peer, Phrase, UploadMethod, Verified, Words } from '../engine/types';

/** The language of words that are no sentence of the engine's: an earlier Ferry wrote everything in it. */
export const ENGINE_LANGUAGE = baseLocale;

export const speaksAsEngine = () => getLocale() === ENGINE_LANGUAGE;

export const isOwn = (words: Words | null | undefined): words is Phrase =>
  words !== null && words !== undefined && typeof words !== 'string';

/** The blanks that hold a number of bytes; `seconds` is a time, and every other number a count. */
export const SIZES: ReadonlySet<string> = new Set(['needed', 'done', 'total', 'missing', 'limit']);

export const checksums: Record<Verified, string> = {
  sha512: 'SHA-512',
  sha256: 'SHA-256',
  sha1: 'SHA-1',
  md5: 'MD5',
  crc64nvme: 'CRC64NVME',
  crc64ecma: 'CRC64ECMA',
  crc32c: 'CRC32C',
  crc32: 'CRC32',
  length: '',
  none: '',
};

const proofs: Record<Verified, () => string> = {
  sha512: () => m.verified_by({ how: checksums.sha512 }),
  sha256: () => m.verified_by({ how: checksums.sha256 }),
  sha1: () => m.verified_by({ how: checksums.sha1 }),
  md5: () => m.verified_by({ how: checksums.md5 }),
  crc64nvme: () => m.verified_by({ how: checksums.crc64nvme }),
  crc64ecma: () => m.verified_by({ how: checksums.crc64ecma }),
  crc32c: () => m.verified_by({ how: checksums.crc32c }),
  crc32: () => m.verified_by({ how: checksums.crc32 }),
  length: m.verified_length,
  none: m.verified_none,
};

const methods: Record<UploadMethod, () => string> = {
  auto: m.method_auto,
  put: m.method_put,
  post: m.method_post,
  'post-raw': m.method_post_raw,
  resumable: m.method_resumable,
};

type Message = (filled: Record<string, string>) => string;

/**
 * Words that the engine hands over in its own language: what a service and its settings are called. Other languages have
 * them where `ui/messages` holds a message of that name; without one they stay as they came.
 */
export function translated(name: string, english: string, filled: Record<string, string> = {}): string {
  const message = (m as unknown as Record<string, Message | undefined>)[name.replaceAll('-', '_')];
  return speaksAsEngine() ? english : (message?.(filled) ?? english);
}

/** What the engine calls its services, by id. */
const serviceNames = new Map<string, string>();

/** Sentences call services as the engine does from now on. */
export function nameServices(all: { id: string; name: string }[]) {
  for (const { id, name } of all) serviceNames.set(id, name);
}

/** What a service is called in the language of the window. */
export const serviceName = (id: string) => translated(`service_name_${id}`, serviceNames.get(id) ?? id);

/** Who answered, if it is no service. */
const peers: Record<Peer, (() => string) | undefined> = {
  server: m.peer_server,
  store: m.peer_store,
};

function shown(blank: string, value: string | number | Phrase): string {
  if (typeof value === 'object') return say(value);
  if (typeof value === 'number') {
    if (blank === 'seconds') return format.duration(value);
    return SIZES.has(blank) ? format.bytes(value) : format.count(value);
  }
  switch (blank) {
    case 'service':
      return peers[value]?.() ?? serviceName(value);
    case 'method':
    case 'other':
      return methods[value as UploadMethod]();
    case 'proof':
      return proofs[value as Verified]();
    case 'algorithm':
      return checksums[value as Verified] || value;
    default:
      return value;
  }
}

/** The sentence without its full stop; words that are no sentence of the engine's stay as they came. */
export function say(words: Words): string {
  if (!isOwn(words)) return words;
  const { is, ...blanks } = words;
  // Each message asks for the blanks of its own sentence: a test compares them with the engine's types.
  const message = m[`say_${is}`] as (filled: Record<string, string>) => string;
  const filled = Object.entries<string | number | Phrase>(blanks).map(([name, value]) => [name, shown(name, value)]);
  return message(Object.fromEntries(filled) as Record<string, string>);
}

/** The same where only the language of the window is wanted: nothing for English words in another. */
export const sayHere = (words: Words | undefined): string | null =>
  words === undefined || (!isOwn(words) && !speaksAsEngine()) ? null : say(words);

/** Sentences out of clauses. */
export function sentences(clauses: string[]): string {
  const stop = m.full_stop();
  // A full-width stop brings its own room.
  return clauses.map((clause) => format.sentence(clause, stop)).join(stop === '.' ? ' ' : '');
}
