import { expect, test } from 'vitest';

import { pressed, printed } from '../../src/commands';
import { Selection } from '../../src/selection.svelte';

const order = [1, 2, 3, 4, 5].map((id) => ({ id }));

test('a range goes from the last single choice, both ways', () => {
  const selection = new Selection();
  selection.only(3);
  selection.extend(5, order);
  expect([...selection.ids]).toEqual([3, 4, 5]);
  selection.extend(1, order);
  expect([...selection.ids]).toEqual([1, 2, 3]);
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
