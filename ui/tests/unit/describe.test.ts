import { afterEach, describe, expect, test } from 'vitest';

import { aboutService, failure, problem, progress, proof, recognised, rowName, subline } from '../../src/describe';
import { baseLocale, overwriteGetLocale } from '../../src/paraglide/runtime.js';
import { failures, transfer } from '../scenarios';

const now = () => 1_000_000;

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

  test.each([null, 0])('before the first byte nothing is counted (speed %s)', (speed) => {
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
      wait: { reason: 'retry', until: 1_012_000, message: 'The connection broke' },
      bytes: 1,
      total: 4,
    });
    expect(progress(row, now)).toMatchObject({ live: false, end: 'Tries again in 12 s' });
  });

  test('a wait without a clock asks no clock', () => {
    const row = transfer({
      name: 'a.mp4',
      state: { is: 'running' },
      wait: { reason: 'network', until: null, message: 'No network' },
    });
    const never = () => {
      throw new Error('asked the clock');
    };
    expect(progress(row, never)?.end).toBe('Waits for the network');
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
    expect(proof('crc32c')).toMatchObject({ strong: true, text: 'Verified · CRC32C' });
    expect(proof('length')).toMatchObject({ strong: false, text: 'Length checked' });
    expect(proof('none').strong).toBe(false);
    expect(proof(null).strong).toBe(false);
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
      message: 'MAVI refused; “The title is too long”, code 0001, HTTP 400, upload',
      advice: 'read it',
    };
    expect(failure({ code: 'service_error', ...refused }).title).toBe('MAVI refused; “The title is too long”.');
    expect(failure({ code: 'unauthorized', ...refused }).title).toBe('MAVI refused.');
    const full = { message: 'There is not enough room; 1.4 GB more is needed', advice: 'make room' };
    expect(failure({ code: 'disk_full', ...full })).toEqual({
      title: 'There is not enough room; 1.4 GB more is needed.',
      detail: 'Make room.',
    });
  });

  test('where the engine names only the file, the headline says what is wrong with it', () => {
    const denied = { code: 'permission_denied', message: 'Opening `/a/b.mp4` failed; permission denied' } as const;
    expect(failure({ ...denied, advice: 'choose another' })).toEqual({
      title: 'Access was refused.',
      detail: 'Opening “/a/b.mp4” failed. Choose another.',
    });
  });

  test('the terminal’s backticks become quotes', () => {
    const notFound = { code: 'not_found', message: 'MAVI does not know the asset `re_1`', advice: '' } as const;
    expect(failure(notFound)).toEqual({ title: 'MAVI does not know the asset “re_1”.', detail: '' });
  });
});

describe('in another language than the engine’s', () => {
  afterEach(() => overwriteGetLocale(() => baseLocale));

  const refused = { code: 'unauthorized', message: 'MAVI refused the key', advice: 'enter another' } as const;

  test('a failure begins with a headline of the page, then the engine speaks', () => {
    overwriteGetLocale(() => 'es');
    expect(failure(refused)).toEqual({
      title: 'La clave no fue aceptada.',
      detail: 'MAVI refused the key. Enter another.',
    });
    expect(problem('MAVI', refused)).toBe('MAVI: La clave no fue aceptada.');
    overwriteGetLocale(() => 'zh');
    expect(failure(refused).title).toBe('密钥未被接受。');
  });

  test('every code has a headline of its own', () => {
    overwriteGetLocale(() => 'es');
    const titles = new Set(failures.map((one) => failure(one).title));
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
    const made = (id: string, text: string) => recognised({ service: id, label: 'English', ready: true }, text);
    expect(made('link', 'https://user@files.example.org:8080/a?b')).toBe('Enlace a files.example.org');
    expect(made('offline-tube', 'https://x.example/watch')).toBe('Página para el servidor multimedia');
    expect(made('offline-tube', '7f0c')).toBe('Archivo en el servidor multimedia');
    expect(made('mavi', 're_1')).toBe('Recurso de MAVI');
  });
});
