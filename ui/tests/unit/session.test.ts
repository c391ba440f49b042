import { beforeEach, describe, expect, test, vi } from 'vitest';

import type { Changes, Snapshot, Transfer } from '../../src/types';
import { transfer, world } from '../scenarios';

let send: (changes: Changes) => void = () => undefined;
const snapshot = vi.fn<() => Promise<Snapshot>>();
const transfersAfter = vi.fn<(id: number) => Promise<Transfer[]>>();
const pause = vi.fn<(ids: number[]) => Promise<void>>(() => Promise.resolve());

vi.mock('../../src/ipc', () => ({
  snapshot: () => snapshot(),
  transfersAfter: (id: number) => transfersAfter(id),
  pause: (ids: number[]) => pause(ids),
  onChanges: (handle: (changes: Changes) => void) => {
    send = handle;
    return Promise.resolve(() => undefined);
  },
  asFailure: (error: unknown) => error,
}));

const actions = await import('../../src/actions');
const { Session } = await import('../../src/session.svelte');
const { transfers } = await import('../../src/transfers.svelte');

const row = (bytes: number) => transfer({ name: 'a', state: { is: 'running' }, id: 1, position: 1, bytes });
const at = (revision: number, bytes: number): Snapshot => ({
  ...world('empty').snapshot,
  revision,
  transfers: [row(bytes)],
});
const change = (revision: number, bytes: number): Changes => ({
  revision,
  changed: [row(bytes)],
  removed: [],
  services: null,
});
const settled = () => new Promise((resolve) => setTimeout(resolve));

beforeEach(() => {
  snapshot.mockReset();
  transfersAfter.mockReset();
  transfers.loaded = false;
});

describe('the stream of changes', () => {
  test('changes that follow the snapshot are applied', async () => {
    snapshot.mockResolvedValue(at(4, 10));
    await new Session().start();
    send(change(5, 20));
    expect(transfers.get(1)?.bytes).toBe(20);
    expect(snapshot).toHaveBeenCalledTimes(1);
  });

  test('a gap in the revision asks for a new snapshot', async () => {
    snapshot.mockResolvedValueOnce(at(4, 10)).mockResolvedValueOnce(at(7, 70));
    await new Session().start();
    send(change(7, 65));
    expect(transfers.get(1)?.bytes).toBe(10);
    await settled();
    expect(transfers.get(1)?.bytes).toBe(70);
    send(change(8, 80));
    expect(transfers.get(1)?.bytes).toBe(80);
    expect(snapshot).toHaveBeenCalledTimes(2);
  });

  test('what the snapshot already holds is not applied again', async () => {
    snapshot.mockResolvedValue(at(4, 10));
    await new Session().start();
    send(change(3, 5));
    send(change(4, 5));
    expect(transfers.get(1)?.bytes).toBe(10);
  });

  test('changes that arrive while the snapshot is under way are not lost', async () => {
    let answer: (value: Snapshot) => void = () => undefined;
    snapshot.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    const started = new Session().start();
    await settled();
    send(change(4, 15));
    send(change(5, 25));
    answer(at(4, 20));
    await started;
    expect(transfers.get(1)?.bytes).toBe(25);
  });

  test('the first rows of a long list are shown while the rest is asked for, and what changes meanwhile is kept', async () => {
    const rows = Array.from({ length: 30 }, (_, index) => transfer({ ...row(0), id: index + 1, position: index + 1 }));
    snapshot.mockResolvedValue({ ...at(4, 10), transfers: rows.slice(0, 10), more: true });
    let answer: (value: Transfer[]) => void = () => undefined;
    transfersAfter.mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    transfersAfter.mockImplementation((id) => Promise.resolve(rows.filter((one) => one.id > id).slice(0, 10)));
    const session = new Session();
    const started = session.start();
    await settled();
    expect(transfers.list).toHaveLength(10);
    // What is for everything waits for everything.
    const paused = actions.pauseAll();

    send({ revision: 5, changed: [row(70)], removed: [2], services: null });
    answer(rows.slice(0, 10));
    await started;
    expect(transfers.list).toHaveLength(29);
    expect(transfers.get(1)?.bytes).toBe(70);
    expect(transfersAfter.mock.calls.flat()).toEqual([0, 10, 20, 30]);
    await paused;
    expect(pause.mock.calls).toEqual([[transfers.list.map((one) => one.id)]]);

    // A gap: the list on the screen stays as long as it is until everything is there.
    transfersAfter.mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
    snapshot.mockResolvedValue({ ...at(9, 90), transfers: rows.slice(0, 10), more: true });
    send(change(9, 85));
    await settled();
    expect(transfers.list).toHaveLength(29);
    answer(rows.slice(0, 10));
    await settled();
    expect(transfers.list).toHaveLength(30);
  });

  test('an engine that does not answer is said, and asked again', async () => {
    snapshot.mockRejectedValueOnce({
      code: 'busy_data_dir',
      what: 'Another Ferry',
      why: null,
      advice: '',
      remedy: 'retry',
    });
    const session = new Session();
    await session.start();
    expect(session.trouble?.code).toBe('busy_data_dir');
    snapshot.mockResolvedValue(at(1, 1));
    await session.start();
    expect(session.trouble).toBeNull();
  });
});
