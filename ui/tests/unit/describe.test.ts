import { afterEach, describe, expect, test } from 'vitest';

import {
  aboutService,
  failure,
  headline,
  problem,
  progress,
  proof,
  reason,
  recognised,
  rowName,
  subline,
  timeThere,
} from '../../src/words/describe';
import { baseLocale, overwriteGetLocale } from '../../src/paraglide/runtime.js';
import { nameServices, say } from '../../src/words/phrases';
import { failures, transfer } from '../scenarios';

const now = () => 1_000_000;

// As the window does with what it was told.
nameServices([{ id: 'mavi', name: 'MAVI' }]);

describe('the bar of a row', () => {
  test('a known size shows how much is there and how long it takes', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      stage: 'fetching',
      bytes: 680_000_000,
      total: 1_000_000_000,
      speed: 38_000_000,
      seconds_left: 8,
    });
    expect(progress(row, now)).toMatchObject({
      fraction: 0.68,
      number: '68%',
      beside: '680 MB',
      end: '38 MB/s · 8 s left',
    });
  });

  test('an unknown size shows no fraction and invents no percent', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      stage: 'fetching',
      bytes: 214_000_000,
      speed: 41_000_000,
    });
    expect(progress(row, now)).toMatchObject({ fraction: null, live: true, number: '214 MB', end: '41 MB/s' });
  });

  test('all bytes are not yet 100 %', () => {
    const row = transfer({ name: 'a.mp4', state: { is: 'verifying' }, bytes: 10, total: 10 });
    expect(progress(row, now)).toMatchObject({ fraction: 0.99, number: '99%' });
  });

  test.each([undefined, 0])('before the first byte nothing is counted (speed %s)', (speed) => {
    const row = transfer({ name: 'a.mp4', state: { is: 'running' }, stage: 'fetching', total: 10, speed });
    expect(progress(row, now)).toMatchObject({ fraction: 0, number: '', beside: 'starting…', end: '' });
    expect(rowName(row, 'MAVI')).toBe('a.mp4, downloading from MAVI');
  });

  test('a speed is shown only when there is one', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      stage: 'fetching',
      bytes: 5,
      total: 10,
      speed: 0,
      seconds_left: 3,
    });
    expect(progress(row, now)).toMatchObject({ number: '50%', beside: '5 B', end: '' });
  });

  test('more bytes than were promised stay below the whole', () => {
    const row = transfer({ name: 'a.mp4', state: { is: 'running' }, bytes: 20, total: 10 });
    expect(progress(row, now)?.fraction).toBe(0.99);
  });

  test('preparing shows what the server says, not bytes', () => {
    const row = transfer({ name: 'a.mp4', state: { is: 'running' }, stage: 'preparing', stage_percent: 41 });
    expect(progress(row, now)).toMatchObject({ fraction: 0.41, number: '41%', beside: 'on the server' });
  });

  test('a wait counts down and moves nothing', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      wait: { reason: 'retry', until: 1_012_000, what: { is: 'connection_broke' }, why: null },
      bytes: 1,
      total: 4,
    });
    expect(progress(row, now)).toMatchObject({ live: false, end: 'Trying again in 12 s' });
  });

  test('a wait without a clock asks no clock', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      wait: { reason: 'network', until: null, what: { is: 'no_network' }, why: null },
    });
    const never = () => {
      throw new Error('asked the clock');
    };
    expect(progress(row, never)?.end).toBe('Waiting for the network');
  });

  test('a failure keeps what has arrived in sight', () => {
    const [failure] = failures;
    if (!failure) throw new Error('there are failures');
    const row = transfer({
      name: 'a.zip',
      state: { is: 'failed', ...failure },
      bytes: 6_900_000_000,
      total: 8_300_000_000,
    });
    expect(progress(row, now)).toMatchObject({ tone: 'bad', end: '6.9 GB of 8.3 GB kept' });
  });

  test('what is done has a badge instead', () => {
    expect(progress(transfer({ name: 'a', state: { is: 'completed' } }), now)).toBeNull();
  });
});

describe('words', () => {
  test('a row reads as a sentence', () => {
    const row = transfer({
      name: 'interview-raw.mp4',
      kind: 'upload',
      state: { is: 'running' },
      stage: 'sending',
      bytes: 68,
      total: 100,
      seconds_left: 12,
    });
    expect(rowName(row, 'MAVI')).toBe('interview-raw.mp4, uploading to MAVI, 68%, 12 s left');
  });

  test('only a checksum counts as verified', () => {
    expect(proof('crc32c', 'download')).toMatchObject({ strong: true, text: 'Verified · CRC32C' });
    expect(proof('length', 'download')).toMatchObject({ strong: false, text: 'Length checked' });
    expect(proof(undefined, 'download').strong).toBe(false);
  });

  test('what nothing proves is not confirmed, and says why', () => {
    const sent = proof('none', 'upload');
    expect(sent).toMatchObject({ strong: false, text: 'Not confirmed' });
    expect(sent.title).toContain('Nothing proves that the content is right');
    const brought = proof('none', 'download');
    expect(brought).toMatchObject({ strong: false, text: 'Not confirmed' });
    expect(brought.title).toContain('Nothing proves that the file is whole');
    const row = transfer({ name: 'a', kind: 'upload', state: { is: 'completed' }, verified: 'none' });
    expect(rowName(row, 'MAVI')).toContain('Not confirmed');
  });

  test('every failure says what to do', () => {
    for (const one of failures) {
      const { title, detail } = failure(one);
      expect(`${title} ${detail}`).toMatch(/^[“\p{Lu}].+\. \p{Lu}.+\.$/u);
    }
  });

  test('the second line says that the size is unknown, and nothing that the row says elsewhere', () => {
    expect(subline(transfer({ name: 'a', state: { is: 'running' }, stage: 'fetching' }), now)).toEqual([
      'size unknown',
    ]);
    expect(subline(transfer({ name: 'a', state: { is: 'running' }, stage: 'signing', total: 14 }), now)).toEqual([
      '14 B',
      'signing',
    ]);
    expect(subline(transfer({ name: 'a', state: { is: 'queued' }, total: 14 }), now)).toEqual(['14 B']);
  });

  test('a status code and a checksum are for the details, the service’s own words are not', () => {
    const refused = {
      what: { is: 'service_refused', service: 'mavi' },
      why: '“The title is too long”, code 0001, HTTP 400, upload',
      advice: { is: 'try_later' },
    } as const;
    expect(failure({ code: 'service_error', ...refused })).toMatchObject({
      title: 'MAVI refused.',
      quoted: '“The title is too long”',
      detail: 'Try again later.',
    });
    expect(failure({ code: 'unauthorized', ...refused }).quoted).toBe('');
    expect(reason(refused.why)?.text).toBe(refused.why);
    const differs = { is: 'checksum_came', algorithm: 'crc32c', got: '1', expected: '2' } as const;
    const wrong = { what: { is: 'not_as_described' }, why: differs, advice: { is: 'sign_again' } } as const;
    expect(failure({ code: 'integrity_mismatch', ...wrong }).title).toBe(
      'The file that arrived is not the one that the server described.',
    );
    expect(reason(differs)?.text).toBe('Its CRC32C is 1, but 2 was expected');
  });

  test('an amount and a place that one can act on are told at once', () => {
    expect(failure(full)).toEqual({
      title: 'There is not enough room on the disk. 1.4 GB more is needed in “/d”.',
      quoted: '',
      lang: 'und',
      detail: 'Make room or choose another folder; what has arrived is kept.',
    });
  });

  test('where the engine names only the file, the headline says what is wrong with it', () => {
    expect(failure(denied)).toMatchObject({
      title: 'Access was refused.',
      quoted: '',
      detail: '“/a/b.mp4” could not be used. Make the file readable, or choose another one.',
    });
  });

  test('the words of an earlier Ferry are shown as they are', () => {
    expect(failure(earlier)).toEqual({
      title: 'MAVI does not know the asset “re_1”; HTTP 404.',
      quoted: '',
      lang: 'en',
      detail: 'Check the id.',
    });
  });

  test('a history reads in one language', () => {
    expect(say({ is: 'tried_again', what: { is: 'nothing_moved', seconds: 30 }, seconds: 4 })).toBe(
      'Nothing moved for 30 s; next attempt in 4 s',
    );
    expect(say({ is: 'completed_with_proof', proof: 'crc32c' })).toBe('Completed (Verified · CRC32C)');
    expect(say({ is: 'other_method', method: 'post', other: 'put' })).toBe(
      'The store does not take “A form (POST)”; trying “One request (PUT)”',
    );
    expect(say({ is: 'pause_asked', service: 'store' })).toBe('The store asks for a pause');
    expect(say({ is: 'picked_up', count: 1204 })).toBe('Picked up 1,204 transfers where they stood');
    expect(say('as it came')).toBe('as it came');
  });
});

const full = {
  code: 'disk_full',
  what: { is: 'no_room' },
  why: { is: 'more_needed', needed: 1_400_000_000, folder: '/d' },
  advice: { is: 'make_room' },
} as const;
const denied = {
  code: 'permission_denied',
  what: { is: 'file_failed', doing: 'Opening', path: '/a/b.mp4' },
  why: 'permission denied',
  advice: { is: 'make_readable' },
} as const;
const earlier = {
  code: 'not_found',
  what: 'MAVI does not know the asset `re_1`; HTTP 404',
  why: null,
  advice: 'check the id',
} as const;

describe('in another language than the engine’s', () => {
  afterEach(() => overwriteGetLocale(() => baseLocale));

  test('what happened, why and what to do are in the language of the window', () => {
    overwriteGetLocale(() => 'es');
    expect(failure(full)).toMatchObject({
      title: 'No hay suficiente espacio en el disco. Hacen falta 1,4 GB más en «/d».',
      detail: 'Libera espacio o elige otra carpeta; lo que ha llegado se conserva.',
    });
    expect(failure(denied)).toMatchObject({
      title: 'Acceso denegado.',
      quoted: '',
      detail: 'No se pudo usar «/a/b.mp4». Haz que el archivo se pueda leer, o elige otro.',
    });
    const refused = { ...full, code: 'unauthorized', what: { is: 'key_refused', service: 'mavi' }, why: null } as const;
    expect(problem('MAVI', refused)).toBe('MAVI no aceptó la clave.');
    expect(problem('MAVI', { ...refused, what: { is: 'server_not_reached' } })).toBe(
      'MAVI: No se pudo conectar con el servidor.',
    );
    overwriteGetLocale(() => 'zh');
    expect(failure(full)).toMatchObject({
      title: '磁盘空间不足。“/d”还需要 1.4 GB。',
      detail: '请腾出空间或选择其他文件夹；已收到的内容会保留。',
    });
  });

  test('the words of a service stay as they came, marked as of no known language', () => {
    overwriteGetLocale(() => 'zh');
    const refused = { ...full, code: 'service_error', why: '“标题 too long”, HTTP 400' } as const;
    expect(failure(refused)).toMatchObject({ quoted: '“标题 too long”', lang: 'und' });
    expect(reason(refused.why)).toEqual({ text: refused.why, lang: 'und' });
  });

  test('the words of an earlier Ferry follow a headline of the page, marked as English', () => {
    overwriteGetLocale(() => 'es');
    expect(failure(earlier)).toEqual({
      title: 'El servicio no lo conoce.',
      quoted: 'MAVI does not know the asset “re_1”; HTTP 404. Check the id.',
      lang: 'en',
      detail: '',
    });
    expect(problem('MAVI', earlier)).toBe('MAVI: El servicio no lo conoce.');
    const row = transfer({ name: 'a', state: { is: 'queued' }, total: 14, note: 'The checksum differed' });
    expect(subline(row, now)).toEqual(['14 B']);
  });

  test('every code has a headline of its own', () => {
    overwriteGetLocale(() => 'es');
    const titles = new Set(failures.map((one) => headline(one.code)));
    expect(titles.size).toBe(new Set(failures.map((one) => one.code)).size);
  });

  test('services and what the add bar recognises are named', () => {
    overwriteGetLocale(() => 'es');
    const service = (id: string) => aboutService({ id, name: 'English', description: 'English' });
    expect(service('sandbox')).toEqual({
      id: 'sandbox',
      name: 'Entorno de pruebas',
      description: 'Funciona dentro de Ferry, solo en este equipo. Para hacer pruebas',
    });
    expect(service('mavi').name).toBe('English');
    const made = (id: string, host: string | null) => recognised({ service: id, label: 'English', ready: true, host });
    expect(made('link', 'files.example.org')).toBe('Enlace a files.example.org');
    expect(made('offline-tube', 'x.example')).toBe('Página para el servidor multimedia');
    expect(made('offline-tube', null)).toBe('Archivo en el servidor multimedia');
    expect(made('mavi', null)).toBe('Recurso de MAVI');
  });

  test('a service that has no words of this language yet is called what the engine calls it', () => {
    overwriteGetLocale(() => 'es');
    const echo = { id: 'echo', name: 'Echo', description: 'Gives back what it was sent' };
    nameServices([echo]);
    expect(aboutService(echo)).toEqual(echo);
    expect(recognised({ service: 'echo', label: 'Echo of a file', ready: true, host: null })).toBe('Echo of a file');
    expect(say({ is: 'key_refused', service: 'echo' })).toContain('Echo');
  });
});

test('times that a service writes are shown as moments where they are, and otherwise as they were written', () => {
  expect(timeThere('1767225600000')).toBe(timeThere('1767225600'));
  expect(timeThere('1767225600')).toMatch(/20\d\d/);
  for (const odd of ['20260131', '1767225600000000000', '2026-01-31', 'yesterday']) {
    expect(timeThere(odd)).toBe(odd);
  }
});
