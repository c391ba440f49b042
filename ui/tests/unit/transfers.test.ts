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

  test('100,000 rows take a change in a few milliseconds', () => {
    list.reset(Array.from({ length: 100_000 }, (_, index) => queued(index + 1)));
    const begun = performance.now();
    for (let round = 0; round < 10; round += 1) list.apply([queued(50_000, { bytes: round })], []);
    expect((performance.now() - begun) / 10).toBeLessThan(100);
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
