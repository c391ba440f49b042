import { beforeEach, describe, expect, test } from 'vitest';

import { mean } from '../../src/curve';
import { Transfers } from '../../src/transfers.svelte';
import type { Transfer } from '../../src/types';
import { transfer } from '../scenarios';

let list: Transfers;
const queued = (id: number, of: Partial<Transfer> = {}) =>
  transfer({ name: `${id}.mp4`, state: { is: 'queued' }, ...of, id, position: of.position ?? id });
const ids = () => list.list.map((row) => row.id);

beforeEach(() => {
  list = new Transfers();
});

describe('order', () => {
  test('the queue comes first, what is done follows, newest first', () => {
    list.reset([
      queued(1, { state: { is: 'completed' }, ended_at: 10 }),
      queued(2, { state: { is: 'completed' }, ended_at: 20 }),
      queued(3),
      queued(4, { state: { is: 'running' } }),
    ]);
    expect(ids()).toEqual([3, 4, 2, 1]);
  });

  test('a change of bytes moves no row', () => {
    list.reset([queued(1), queued(2), queued(3)]);
    list.apply([queued(2, { state: { is: 'running' }, bytes: 5 })], []);
    expect(ids()).toEqual([1, 2, 3]);
    expect(list.list[1]?.bytes).toBe(5);
  });

  test('a new position moves it, also to the ends', () => {
    list.reset([queued(1), queued(2), queued(3)]);
    list.apply([queued(3, { position: 0.5 })], []);
    expect(ids()).toEqual([3, 1, 2]);
    list.apply([queued(3, { position: 9 })], []);
    expect(ids()).toEqual([1, 2, 3]);
  });

  test('new rows find their place among the others, removed ones go', () => {
    list.reset([queued(1), queued(3), queued(5)]);
    list.apply([queued(4), queued(2), queued(6)], [1, 5]);
    expect(ids()).toEqual([2, 3, 4, 6]);
  });

  test('a row that comes and goes in the same change is gone', () => {
    list.reset([queued(1)]);
    list.apply([queued(2)], [2]);
    expect(ids()).toEqual([1]);
    expect(list.get(2)).toBeUndefined();
  });

  test('names are ordered as people count', () => {
    list.reset([queued(1, { name: 'take 10' }), queued(2, { name: 'Take 9' })]);
    list.order = 'name';
    expect(ids()).toEqual([2, 1]);
  });

  test('a row that only changed costs no look at the others', () => {
    let looks = 0;
    const watched = (row: Transfer) =>
      new Proxy(row, {
        get: (of, name) => {
          looks += 1;
          return Reflect.get(of, name) as unknown;
        },
      });
    list.reset(Array.from({ length: 5_000 }, (_, index) => watched(queued(index + 1))));
    const [before, revision] = [list.list, list.revision];
    looks = 0;
    list.apply([queued(2_500, { state: { is: 'running' }, bytes: 7, speed: 3 })], []);
    expect(looks).toBeLessThan(200);
    expect(list.list).toBe(before);
    expect(list.revision).toBeGreaterThan(revision);
    expect([list.list[2_499]?.bytes, list.totals.down, list.totals.waiting]).toEqual([7, 3, 4_999]);
  });

  test.each(['queue', 'name', 'size', 'state'] as const)('whatever comes, it ends as a snapshot would: %s', (order) => {
    let seed = 7;
    const chance = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    const now = Date.now();
    const any = (id: number) =>
      queued(id, {
        name: `${chance(9)}.mp4`,
        kind: chance(2) ? 'upload' : 'download',
        state: { is: (['queued', 'running', 'completed', 'paused', 'canceled'] as const)[chance(5)] ?? 'queued' },
        bytes: chance(3),
        ...(chance(2) && { total: chance(3), speed: chance(9), ended_at: now - chance(3) * 40_000_000 }),
        ...(chance(3) === 0 && { wait: { reason: chance(2) ? 'network' : 'key', until: null, what: '', why: null } }),
        position: chance(5),
      });
    list.order = order;
    list.reset(Array.from({ length: 40 }, (_, index) => any(index + 1)));
    list.hide([3, 17]);
    for (let round = 0; round < 200; round += 1) {
      const some = new Set(Array.from({ length: chance(6) }, () => 1 + chance(60)));
      const gone = chance(4) === 0 ? [18 + chance(43)] : [];
      list.apply([...some].map(any), gone, now);
      const fresh = new Transfers();
      fresh.order = order;
      fresh.reset(list.list.toSorted((a, b) => a.id - b.id));
      fresh.hide([3, 17]);
      expect(ids()).toEqual(fresh.list.map((row) => row.id));
      expect([list.counts, list.totals, list.today]).toEqual([fresh.counts, fresh.totals, fresh.today]);
    }
  });
});

describe('what is counted', () => {
  test('every row is in one tab', () => {
    list.reset([
      queued(1),
      queued(2, { state: { is: 'running' }, speed: 40, kind: 'upload' }),
      queued(3, { state: { is: 'running' }, speed: 30 }),
      queued(4, { state: { is: 'completed' } }),
      queued(5, { state: { is: 'canceled' } }),
      queued(6, { state: { is: 'failed', code: 'network', what: '', why: null, advice: '', remedy: 'retry' } }),
      queued(7, { state: { is: 'queued' }, wait: { reason: 'key', until: null, what: '', why: null } }),
      queued(8, { state: { is: 'paused' } }),
    ]);
    expect(list.counts).toEqual({ all: 8, active: 4, done: 2, attention: 2 });
    expect(list.totals).toMatchObject({ up: 40, down: 30, running: 2, waiting: 2, paused: 1 });
  });

  test('rows out of sight count nowhere until they are brought back', () => {
    list.reset([queued(1), queued(2)]);
    list.hide([1]);
    expect(list.counts.all).toBe(1);
    expect(list.shown.map((row) => row.id)).toEqual([2]);
    list.unhide([1]);
    expect(list.counts.all).toBe(2);
  });
});

test('what was taken back is only what came since', () => {
  list.reset([queued(1, { added_at: 5 }), queued(2, { added_at: 10 })]);
  expect(list.addedSince([1, 2, 3], 10)).toEqual([2, 3]);
});

describe('filter and search', () => {
  test('both apply', () => {
    list.reset([
      queued(1, { name: 'Harbour.mp4' }),
      queued(2, { name: 'harbour 2.mp4', state: { is: 'paused' } }),
      queued(3),
    ]);
    list.search = ' HARB ';
    expect(list.shown.map((row) => row.id)).toEqual([1, 2]);
    list.filter = 'done';
    expect(list.shown).toEqual([]);
  });
});

test('the day is summed up, and begins at midnight', () => {
  const noon = new Date(2026, 10, 21, 12).getTime();
  const done = (id: number, hours: number, of: Partial<Transfer> = {}) =>
    queued(id, { state: { is: 'completed' }, bytes: 100 * id, ended_at: noon - hours * 3_600_000, ...of });
  list.apply([done(1, 1), done(2, 11, { kind: 'upload' }), done(3, 13), queued(4, { bytes: 7 })], [], noon);
  // What was sent before and is still there did not move.
  list.apply([done(6, 1, { kind: 'upload', note: { is: 'sent_before', service: 'MAVI' } })], [], noon);
  expect(list.today).toEqual({ files: 2, down: 100, up: 200 });
  list.apply([done(5, -13)], [], noon + 13 * 3_600_000);
  expect(list.today).toEqual({ files: 1, down: 500, up: 0 });
});

test('the mean speed counts time, not messages', () => {
  const samples = [
    { at: 0, speed: 10 },
    { at: 100, speed: 10 },
    { at: 200, speed: 10 },
    { at: 1_000, speed: 0 },
  ];
  expect(mean(samples)).toBe(6);
  expect(mean(samples.slice(0, 1))).toBe(10);
  expect(mean([])).toBe(0);
});

test('the total speed stays level while nothing is said', () => {
  list.apply([], [], 1_000);
  list.apply([transfer({ name: 'a', state: { is: 'running' }, speed: 50 })], [], 30_000);
  expect(list.pulse).toEqual([
    { at: 1_000, speed: 0 },
    { at: 29_999, speed: 0 },
    { at: 30_000, speed: 50 },
  ]);
});

test('tells which rows came into another state', () => {
  list.reset([queued(1), queued(2)]);
  const turns = list.apply([queued(1, { state: { is: 'running' } }), queued(2, { bytes: 1 })], []);
  expect(turns.map((turn) => [turn.transfer.id, turn.before])).toEqual([[1, 'queued']]);
});
