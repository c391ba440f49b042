import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Announcer } from '../../src/announcer.svelte';
import type { Turn } from '../../src/transfers.svelte';
import { transfer } from '../scenarios';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const done = (name: string): Turn => ({ transfer: transfer({ name, state: { is: 'completed' } }), before: 'running' });

test('speaks at once, then at most every five seconds, gathering what came between', () => {
  const announcer = new Announcer();
  announcer.note([done('a.mp4')]);
  vi.advanceTimersByTime(0);
  expect(announcer.message).toBe('a.mp4 is complete.');
  announcer.note([done('b.mp4')]);
  announcer.note([done('c.mp4')]);
  vi.advanceTimersByTime(4_900);
  expect(announcer.message).toBe('a.mp4 is complete.');
  vi.advanceTimersByTime(200);
  expect(announcer.message).toBe('2 transfers are complete.');
});

test('says nothing about progress', () => {
  const announcer = new Announcer();
  announcer.note([{ transfer: transfer({ name: 'a', state: { is: 'running' } }), before: 'queued' }]);
  vi.advanceTimersByTime(10_000);
  expect(announcer.message).toBe('');
});
