import { beforeEach, describe, expect, test, vi } from 'vitest';

import type { Asset } from '../../src/engine/types';

const assets = vi.fn<(search: string) => Promise<Asset[]>>();
const assetCount = vi.fn<() => Promise<number>>();

vi.mock('../../src/engine/ipc', () => ({
  assets: (search: string) => assets(search),
  assetCount: () => assetCount(),
  asFailure: (error: unknown) => error,
}));

const { library, merged } = await import('../../src/library/library.svelte');

const asset = (id: string, at: number, status: Asset['status'] = 'sent'): Asset => ({
  service: 'mavi',
  asset_id: id,
  name: id,
  size: 1,
  crc32c: null,
  status,
  at,
});
const ids = (items: Asset[]) => items.map((one) => one.asset_id).join(' ');

beforeEach(async () => {
  vi.useFakeTimers();
  assets.mockReset().mockResolvedValue([asset('c', 30), asset('b', 20), asset('a', 10)]);
  assetCount.mockReset().mockResolvedValue(7);
  library.search = '';
  await library.load();
  assets.mockClear();
});

describe('what changes in the library', () => {
  test('is put in its place, newest first', () => {
    const items = [asset('c', 30), asset('b', 20), asset('a', 10)];
    expect(ids(merged(items, [asset('d', 40), asset('e', 40)]))).toBe('e d c b a');
    expect(ids(merged(items, [asset('x', 20), asset('old', 5)]))).toBe('c x b a old');
    expect(ids(merged(items, [asset('a', 50)]))).toBe('a c b');
    expect(merged(items, [asset('b', 20, 'sent'), asset('b', 20, 'deleted')])[1]?.status).toBe('deleted');
    expect(ids(merged(items, [asset('b', 20, 'deleted')]))).toBe('c b a');
    expect(ids(merged([], [asset('a', 1)]))).toBe('a');
  });

  test('comes without reading the whole again, however long it grows', async () => {
    for (let at = 100; at < 200; at += 1) library.tell({ changed: [asset(`n${at}`, at)], read_anew: false });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(assets).not.toHaveBeenCalled();
    expect([library.items.length, library.total, library.items[0]?.asset_id]).toEqual([103, 103, 'n199']);
  });

  test('is not lost to an answer that was on its way meanwhile', async () => {
    let answer: (items: Asset[]) => void = () => undefined;
    assets.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    const loading = library.load();
    library.tell({ changed: [asset('d', 40)], read_anew: false });
    expect(ids(library.items)).toBe('d c b a');
    answer([asset('c', 30)]);
    await loading;
    expect(ids(library.items)).toBe('d c');
  });

  test('is asked for anew where it is too much to be told', async () => {
    assets.mockResolvedValue([asset('z', 90)]);
    library.tell({ changed: [], read_anew: true });
    await vi.advanceTimersByTimeAsync(0);
    expect(ids(library.items)).toBe('z');
  });

  test('is shown among what was searched for, once the engine has found it', async () => {
    assets.mockResolvedValue([asset('b', 20)]);
    library.search = 'b';
    await library.load();
    assets.mockClear();
    assets.mockResolvedValue([asset('bb', 60), asset('b', 20)]);
    library.tell({ changed: [asset('b', 20, 'deleted'), asset('bb', 60), asset('x', 61)], read_anew: false });
    expect(library.items.map((one) => one.status)).toEqual(['deleted']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ids(library.items)).toBe('bb b');
    expect([assets.mock.calls, library.total]).toEqual([[['b']], 7]);
  });
});
