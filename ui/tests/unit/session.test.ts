import { beforeEach, describe, expect, test, vi } from 'vitest';

import type { ListChanges, Listing, Look, Opening } from '../../src/engine/types';
import { FakeListing } from '../fake-listing';
import { transfer, world } from '../scenarios';

let send: (changes: ListChanges) => void = () => undefined;
const open = vi.fn<(look: Look) => Promise<Opening>>();
const look = vi.fn<(look: Look) => Promise<Listing>>();

vi.mock('../../src/engine/ipc', () => ({
  open: (wish: Look) => open(wish),
  look: (wish: Look) => look(wish),
  onChanges: (handle: (changes: ListChanges) => void) => {
    send = handle;
    return Promise.resolve(() => undefined);
  },
  asFailure: (error: unknown) => error,
}));

const { announcer } = await import('../../src/window/announcer.svelte');
const { services } = await import('../../src/services/services.svelte');
const { Session } = await import('../../src/app/session.svelte');
const { settings } = await import('../../src/engine/settings.svelte');
const { transfers } = await import('../../src/transfers/transfers.svelte');

const empty = world('empty').opening;
let engine: FakeListing;
const row = (bytes: number) => transfer({ name: 'a', state: { is: 'running' }, id: 1, position: 1, bytes });
const NONE = { completed: 0, completed_name: null, failed: 0, failed_name: null, failure: null };

/** What the engine tells of the row with so many bytes. */
function change(bytes: number, of: Partial<ListChanges> = {}): ListChanges {
  engine.put(row(bytes));
  return {
    list: engine.tell(),
    ended: NONE,
    services: null,
    settings: null,
    downloads_folder: null,
    library: null,
    ...of,
  };
}
const named = (name: string) => empty.services.slice(0, 1).map((service) => ({ ...service, id: 'x', name }));
const settled = () => new Promise((resolve) => setTimeout(resolve));
const bytes = () => transfers.get(1)?.bytes;

/** Keeps the next answer back; what it says is as of now. */
function late<T>(
  mock: { mockImplementationOnce: (run: (look: Look) => Promise<T>) => unknown },
  answer: (look: Look) => T,
) {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  mock.mockImplementationOnce(async (wish) => {
    const made = answer(wish);
    await gate;
    return made;
  });
  return () => {
    release();
    return settled();
  };
}

const opening = (wish: Look): Opening => ({ ...empty, list: engine.look(wish) });

beforeEach(() => {
  engine = new FakeListing([row(10)], (id) => id);
  open.mockReset().mockImplementation((wish) => Promise.resolve(opening(wish)));
  look.mockReset().mockImplementation((wish) => Promise.resolve(engine.look(wish)));
});

describe('the settings', () => {
  test('follow what is told of them, whoever changed them', async () => {
    await new Session().start();
    const changed = { ...empty.settings, default_service: 'mavi' };
    send(change(20, { settings: changed, downloads_folder: '/elsewhere' }));
    expect(settings.current?.default_service).toBe('mavi');
    expect(settings.downloadsFolder).toBe('/elsewhere');
    send(change(30));
    expect(settings.current?.default_service).toBe('mavi');
  });
});

describe('the stream of changes', () => {
  test('changes that follow the opening are applied', async () => {
    await new Session().start();
    send(change(20));
    expect(bytes()).toBe(20);
    expect(open).toHaveBeenCalledTimes(1);
  });

  test('a gap in the revision opens the list anew', async () => {
    await new Session().start();
    change(60);
    send(change(70));
    expect(bytes()).toBe(10);
    await settled();
    expect(bytes()).toBe(70);
    send(change(80));
    expect(bytes()).toBe(80);
    expect(open).toHaveBeenCalledTimes(2);
  });

  test('what the opening already holds is not applied again', async () => {
    const early = change(5);
    engine.put(row(10));
    await new Session().start();
    send(early);
    await settled();
    expect(bytes()).toBe(10);
    expect(open).toHaveBeenCalledTimes(1);
  });

  test('what comes while the list is opened is not lost', async () => {
    const release = late(open, opening);
    const started = new Session().start();
    await settled();
    send(change(15, { services: named('newer') }));
    send(change(25));
    await release();
    await started;
    expect(bytes()).toBe(25);
    expect(services.name('x')).toBe('newer');
    expect(open).toHaveBeenCalledTimes(1);
  });

  test('a change that comes before the answer of its look is applied after it, and an older one is not', async () => {
    await new Session().start();
    const before = change(15, { services: named('told before the look') });
    const release = late(look, (wish) => {
      engine.put(row(20));
      return engine.look(wish);
    });
    const looked = transfers.want({ search: 'a' });
    send(before);
    await settled();
    send(change(30));
    expect(bytes()).toBe(10);
    await release();
    await looked;
    expect(bytes()).toBe(30);
    // The answer to a look says nothing of the services: those that were told stay.
    expect(services.name('x')).toBe('told before the look');
    expect(open).toHaveBeenCalledTimes(1);
    send(change(40));
    expect(bytes()).toBe(40);
  });

  test('one look at a time, and of what is wanted meanwhile only the last', async () => {
    await new Session().start();
    const release = late(look, (wish) => engine.look(wish));
    const first = transfers.want({ search: 'b' });
    void transfers.want({ search: 'c' });
    const last = transfers.want({ search: '' });
    expect(look).toHaveBeenCalledTimes(1);
    await release();
    await Promise.all([first, last]);
    expect(look.mock.calls.map(([wish]) => wish.search)).toEqual(['b', '']);
    expect(bytes()).toBe(10);
  });

  test('what ended is said whatever becomes of the message that told it', async () => {
    const note = vi.spyOn(announcer, 'note');
    await new Session().start();
    engine.tell();
    send(change(20, { ended: { ...NONE, completed: 2, completed_name: 'b' } }));
    await settled();
    expect(note.mock.calls.flat().map(({ completed }) => completed)).toEqual([2]);
    note.mockRestore();
  });

  test('an engine that does not answer is said, and asked again', async () => {
    open.mockRejectedValueOnce({
      code: 'busy_data_dir',
      what: 'Another Ferry',
      why: null,
      advice: '',
      remedy: 'retry',
    });
    const session = new Session();
    await session.start();
    expect(session.trouble?.code).toBe('busy_data_dir');
    await session.start();
    expect(session.trouble).toBeNull();
  });
});
