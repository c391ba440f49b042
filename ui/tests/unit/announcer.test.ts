import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Announcer } from '../../src/window/announcer.svelte';
import type { Endings } from '../../src/engine/types';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const ended = (of: Partial<Endings>): Endings => ({
  completed: 0,
  completed_name: null,
  failed: 0,
  failed_name: null,
  failure: null,
  ...of,
});
const done = (name: string) => ended({ completed: 1, completed_name: name });

test('speaks at once, then at most every five seconds, gathering what came between', () => {
  const announcer = new Announcer();
  announcer.note(done('a.mp4'));
  vi.advanceTimersByTime(0);
  expect(announcer.message).toBe('a.mp4 is complete.');
  announcer.note(done('b.mp4'));
  announcer.note(done('c.mp4'));
  vi.advanceTimersByTime(4_900);
  expect(announcer.message).toBe('a.mp4 is complete.');
  vi.advanceTimersByTime(200);
  expect(announcer.message).toBe('2 transfers are complete.');
});

test('says why one failed, and how many did', () => {
  const announcer = new Announcer();
  const failure = {
    code: 'network',
    what: { is: 'server_not_found' },
    why: null,
    advice: { is: 'check_address_and_network' },
    remedy: 'check_service',
  } as const;
  announcer.note(ended({ failed: 1, failed_name: 'a.mp4', failure }));
  vi.advanceTimersByTime(0);
  expect(announcer.message).toMatch(/a\.mp4.*server/);
  announcer.note(ended({ failed: 3, failed_name: 'b.mp4', failure }));
  vi.advanceTimersByTime(5_000);
  expect(announcer.message).toMatch(/^3 /);
});

test('says nothing about progress', () => {
  const announcer = new Announcer();
  announcer.note(ended({}));
  vi.advanceTimersByTime(10_000);
  expect(announcer.message).toBe('');
});
