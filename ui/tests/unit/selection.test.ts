import { beforeEach, expect, test, vi } from 'vitest';

import { pressed, printed } from '../../src/primitives/keys';
import { Selection } from '../../src/transfers/selection.svelte';
import { transfers } from '../../src/transfers/transfers.svelte';
import { FakeListing } from '../fake-listing';
import { transfer } from '../scenarios';

const between = vi.fn<() => Promise<number[]>>();
vi.mock('../../src/engine/ipc', () => ({ between: () => between() }));

beforeEach(() => {
  const rows = [1, 2, 3, 4, 5].map((id) => transfer({ name: '', state: { is: 'queued' }, id, position: id }));
  const list = new FakeListing(rows, (id) => id);
  transfers.show(list.look(transfers.wish), transfers.wish);
});

test('a range goes from the last single choice, both ways', async () => {
  const selection = new Selection();
  selection.only(3);
  await selection.extend(5);
  expect([...selection.ids]).toEqual([3, 4, 5]);
  await selection.extend(1);
  expect([...selection.ids]).toEqual([1, 2, 3]);
});

test('a range that begins out of reach is the engine’s, and without its beginning it is one row', async () => {
  const selection = new Selection();
  selection.only(900);
  between.mockResolvedValue([4, 5, 6, 900]);
  await selection.extend(4);
  expect([...selection.ids]).toEqual([4, 5, 6, 900]);
  between.mockResolvedValue([]);
  await selection.extend(5);
  expect([[...selection.ids], selection.cursor]).toEqual([[5], 5]);
});

test('a toggle leaves the others alone', () => {
  const selection = new Selection();
  selection.only(2);
  selection.toggle(4);
  selection.toggle(2);
  expect(selection.targets).toEqual([4]);
});

test('without a selection the row under the cursor is meant', () => {
  const selection = new Selection();
  selection.cursor = 4;
  expect(selection.targets).toEqual([4]);
});

const press = (key: string, of: Partial<KeyboardEvent> = {}) =>
  ({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...of }) as KeyboardEvent;

test('keys are told apart by what is held with them', () => {
  expect(pressed(press('o', { ctrlKey: true }), 'Mod+O')).toBe(true);
  expect(pressed(press('O', { ctrlKey: true, shiftKey: true }), 'Mod+O')).toBe(false);
  expect(pressed(press('n'), 'N')).toBe(true);
  expect(pressed(press('n', { ctrlKey: true }), 'N')).toBe(false);
  expect(pressed(press('?', { shiftKey: true }), '?')).toBe(true);
  expect(pressed(press(' '), 'Space')).toBe(true);
  expect(printed('Mod+ArrowUp')).toEqual(['Ctrl', '↑']);
});
