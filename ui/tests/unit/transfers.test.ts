import { beforeEach, describe, expect, test, vi } from 'vitest';

import { mean } from '../../src/transfers/curve';
import { Transfers } from '../../src/transfers/transfers.svelte';
import type { Listing, Transfer } from '../../src/engine/types';
import { FakeListing } from '../fake-listing';
import { transfer } from '../scenarios';

const between = vi.fn<(from: number | null, to: number | null) => Promise<number[]>>();
vi.mock('../../src/engine/ipc', () => ({ between: (from: number | null, to: number | null) => between(from, to) }));

let engine: FakeListing;
let seen: Transfers;
const queued = (id: number, of: Partial<Transfer> = {}) =>
  transfer({ name: `${id}.mp4`, state: { is: 'queued' }, ...of, id, position: id });
/** The places where there is a row, with its id. */
const here = () =>
  Array.from({ length: seen.list.length }, (_, index) => seen.at(index)?.id ?? 0)
    .map((id, index) => [index, id])
    .filter(([, id]) => id !== 0);

beforeEach(() => {
  between.mockReset();
  engine = new FakeListing(
    Array.from({ length: 1_000 }, (_, index) => queued(index + 1)),
    (id) => id,
  );
  seen = new Transfers();
  seen.ask = () => {
    seen.show(engine.look(seen.wish), seen.wish);
    return Promise.resolve();
  };
  void seen.want();
});

describe('the rows within reach', () => {
  test('are those of the window, each in its place', () => {
    expect(seen.list.length).toBe(1_000);
    expect(here().length).toBeLessThan(200);
    seen.see(500, 520);
    expect([seen.at(499)?.id, seen.at(520)?.id, seen.at(0)]).toEqual([500, 521, undefined]);
    expect([seen.get(510)?.id, seen.get(1)]).toEqual([510, undefined]);
    expect(here().length).toBeLessThan(200);
  });

  test('are asked for before scrolling meets an empty place, not at every row', () => {
    let looks = 0;
    const { ask } = seen;
    seen.ask = () => {
      looks += 1;
      return ask();
    };
    for (let first = 0; first <= 975; first += 1) {
      seen.see(first, first + 25);
      const [above, below] = [Math.max(0, first - 15), Math.min(999, first + 25 + 15)];
      expect([seen.at(above)?.id, seen.at(below)?.id]).toEqual([above + 1, below + 1]);
    }
    expect(looks).toBeGreaterThan(10);
    expect(looks).toBeLessThan(60);
  });

  test('stay the same ones when nothing about them changed', () => {
    const before = [seen.at(0), seen.at(1)];
    engine.put(queued(2, { bytes: 5 }));
    seen.show(engine.tell());
    expect(seen.at(0)).toBe(before[0]);
    expect(seen.at(1)).toMatchObject({ id: 2, bytes: 5 });
    // An answer to a look brings all of them once more, as copies.
    const changed = seen.at(1);
    seen.show(JSON.parse(JSON.stringify(engine.look(seen.wish))) as Listing, seen.wish);
    expect(seen.at(0)).toBe(before[0]);
    expect(seen.at(1)).toBe(changed);
  });

  test('one that is far away is fetched', async () => {
    expect(seen.at(900)).toBeUndefined();
    expect((await seen.bring(900))?.id).toBe(901);
    expect(await seen.bring(1_000)).toBeUndefined();
  });
});

describe('the place of the cursor', () => {
  test('is known in sight and far away, also after rows moved, and is none when it is not shown', () => {
    seen.cursor = 3;
    expect(seen.place).toBe(2);
    seen.see(500, 520);
    expect(seen.place).toBe(2);
    engine.delete(1);
    seen.show(engine.tell());
    expect(seen.place).toBe(1);
    seen.search = '500';
    expect(seen.place).toBeNull();
  });
});

describe('filter, search and order', () => {
  test('another one is looked at from its top and is another view; another place is not', () => {
    seen.see(500, 520);
    const { view } = seen;
    seen.see(700, 720);
    expect(seen.view).toBe(view);
    seen.search = '99';
    expect(seen.view).not.toBe(view);
    expect(seen.list.length).toBe(19);
    expect(seen.at(0)?.id).toBe(99);
    seen.order = 'newest';
    seen.filter = 'done';
    expect([seen.list.length, seen.list.counts.all]).toEqual([0, 1_000]);
  });
});

describe('from one row to another', () => {
  test('is known for those within reach, to the ends only where these are', async () => {
    expect(await seen.between(4, 2)).toEqual([2, 3, 4]);
    expect(await seen.between(null, 2)).toEqual([1, 2]);
    expect(between).not.toHaveBeenCalled();
    between.mockResolvedValue([7]);
    expect(await seen.between(2, 900)).toEqual([7]);
    expect(await seen.between(null, null)).toEqual([7]);
    expect(between.mock.calls).toEqual([
      [2, 900],
      [null, null],
    ]);
    seen.search = '99';
    expect(await seen.between(null, null)).toHaveLength(19);
    expect(between).toHaveBeenCalledTimes(2);
  });
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
  seen = new Transfers();
  seen.show(engine.tell(), seen.wish, 1_000);
  engine.put(queued(1, { state: { is: 'running' }, speed: 50 }));
  seen.show(engine.tell(), undefined, 30_000);
  expect(seen.pulse).toEqual([
    { at: 1_000, speed: 0 },
    { at: 29_999, speed: 0 },
    { at: 30_000, speed: 50 },
  ]);
});
