import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import { calls, lastCall, settled, useStudio } from './support';

const open = useStudio();
const ALL = 3_000;

const start = async () => {
  const page = await open({ scenario: 'long' });
  await page.getByRole('button', { name: /^All 3,000/ }).waitFor();
  return page;
};
const ids = (page: Page) =>
  page.evaluate(async () => {
    const { invoke } = (
      window as unknown as { __TAURI_INTERNALS__: { invoke: (...all: unknown[]) => Promise<number[]> } }
    ).__TAURI_INTERNALS__;
    return invoke('between', { from: null, to: null });
  });

/** What is in the list’s sight from its top to its bottom, as places and ids; 0 where nothing stands. */
const inSight = (page: Page) =>
  page.getByRole('grid').evaluate((grid) => {
    const { left, top, width, height } = grid.getBoundingClientRect();
    const seen: [number, number][] = [];
    for (let y = 4; y < height - 4; y += 20) {
      // A toast may lie over it.
      const [row] = document
        .elementsFromPoint(left + width / 2, top + y)
        .flatMap((one) => one.closest<HTMLElement>('[role=row]') ?? []);
      const pair: [number, number] = [Number(row?.getAttribute('aria-rowindex') ?? 0), Number(row?.dataset.id ?? 0)];
      if (pair.join() !== seen.at(-1)?.join()) seen.push(pair);
    }
    return seen;
  });

/** Once the whole height of the list shows the rows that belong there. */
async function showsRight(page: Page) {
  const order = await ids(page);
  await expect
    .poll(async () => (await inSight(page)).every(([place, id]) => place > 0 && order[place - 1] === id))
    .toBe(true);
  const places = (await inSight(page)).map(([place]) => place);
  expect(places).toEqual(places.map((_, index) => (places[0] ?? 0) + index));
  return places;
}

const cursorAt = (page: Page, place: number) =>
  page.waitForFunction(
    (wanted) => document.querySelector('.row.cursor')?.getAttribute('aria-rowindex') === String(wanted),
    place,
  );
/** What was removed last. */
const removed = async (page: Page) => {
  const { ids } = (await lastCall(page, 'hide')) as { ids: number[] };
  return ids;
};

describe('a long list', () => {
  test('shows the right rows wherever it is scrolled to', async () => {
    const page = await start();
    expect((await showsRight(page))[0]).toBe(1);
    const box = await page.getByRole('grid').boundingBox();
    if (!box) throw new Error('no list');
    await page.mouse.move(box.x + 300, box.y + 200);
    for (let turn = 0; turn < 12; turn += 1) await page.mouse.wheel(0, 7_000);
    await page.waitForFunction(() => (document.querySelector('[role=grid]')?.scrollTop ?? 0) > 80_000);
    expect((await showsRight(page))[0]).toBeGreaterThan(1_000);
    await page.getByRole('grid').focus();
    await page.keyboard.press('End');
    await cursorAt(page, ALL);
    expect((await showsRight(page)).at(-1)).toBe(ALL);
    await page.keyboard.press('Home');
    await cursorAt(page, 1);
    expect((await showsRight(page))[0]).toBe(1);
    expect(await page.getByRole('row').count()).toBeLessThan(60);
  });

  test('another tab begins at its top, the same one leaves it where it is', async () => {
    const page = await start();
    await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = 60_000));
    const [first] = await showsRight(page);
    await page.getByRole('button', { name: /^All/ }).click();
    await page.evaluate(() => window.fake.change({}));
    await settled(page);
    expect((await showsRight(page))[0]).toBe(first);
    await page.getByRole('button', { name: /^Done/ }).click();
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '999');
    expect((await showsRight(page))[0]).toBe(1);
  });

  test('the other pages do not lose it', async () => {
    const page = await start();
    await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = 60_000));
    await showsRight(page);
    await page.keyboard.press('Control+2');
    await page.getByRole('heading', { name: 'Library' }).waitFor();
    await page.keyboard.press('Control+1');
    expect((await showsRight(page))[0]).toBe(1);
  });

  test('what changes while an answer is under way is shown after it', async () => {
    const page = await start();
    await page.evaluate(() => (window.fake.slow = 400));
    await page.getByLabel('Search transfers').fill('clip 0021');
    await page.evaluate(() => window.fake.edit(2_102, { name: 'clip 0021 renamed.mp4' }));
    // The list of before stays until the answer is there.
    expect(await page.getByRole('row').count()).toBeGreaterThan(5);
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '100');
    await page.getByText('clip 0021 renamed.mp4').waitFor();
    expect(await page.evaluate(() => window.fake.openings)).toBe(1);
  });

  test('keeps the height of an open row that is out of reach', async () => {
    const page = await start();
    const grid = page.getByRole('grid');
    const height = () => grid.evaluate((one) => one.scrollHeight);
    const usual = await height();
    await page.getByRole('row').nth(3).dblclick();
    await page.getByText('What happened').waitFor();
    await expect.poll(height).toBeGreaterThan(usual + 50);
    const opened = await height();
    await grid.evaluate((one) => (one.scrollTop = 60_000));
    await showsRight(page);
    expect(await height()).toBe(opened);
    await grid.evaluate((one) => (one.scrollTop = 0));
    await page.getByText('What happened').waitFor();
    expect(await height()).toBe(opened);
    // One above it goes: its height goes along with it.
    await page.evaluate(() => window.fake.change({ removed: [1] }));
    await page.waitForFunction(() => document.querySelector('.row.opened')?.getAttribute('aria-rowindex') === '3');
    const next = await page.locator('.row.opened').boundingBox();
    const after = await page.locator('[aria-rowindex="4"]').boundingBox();
    expect(Math.round(after?.y ?? 0)).toBe(Math.round((next?.y ?? 0) + (next?.height ?? 0)));
  });
});

describe('what is done with many', () => {
  test('all are selected and paused, also those out of sight', async () => {
    const page = await start();
    await page.getByRole('grid').focus();
    await page.keyboard.press('Control+a');
    await page.keyboard.press('Space');
    const { ids: paused } = (await lastCall(page, 'pause')) as { ids: number[] };
    expect(paused).toHaveLength(2_001);
    await page.getByText('2,001 paused').waitFor();
    await page.getByRole('button', { name: 'Resume all' }).click();
    expect(await lastCall(page, 'resume')).toMatchObject({ ids: { length: 2_001 } });
  });

  test('Shift and End select to the end; what is removed leaves the cursor on the row in its place', async () => {
    const page = await start();
    const order = await ids(page);
    await page.getByRole('row').nth(2).click();
    await page.keyboard.press('Shift+End');
    await page.keyboard.press('Delete');
    await page.getByText('Removed 2,998 transfers').waitFor();
    expect(await removed(page)).toEqual(order.slice(2));
    await cursorAt(page, 2);
    await page.getByRole('button', { name: /^All 2$/ }).waitFor();
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByRole('button', { name: /^All 3,000/ }).waitFor();
  });

  test('all that is done is removed at once', async () => {
    const page = await start();
    await page.getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'Remove finished transfers' }).click();
    await page.getByText('Removed 999 transfers').waitFor();
    await page.getByRole('button', { name: /^All 2,001/ }).waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await lastCall(page, 'remove')).toMatchObject({ ids: { length: 999 } });
  });

  test('the menu of many offers what can be done with some of them', async () => {
    const page = await start();
    await page.getByRole('grid').focus();
    await page.keyboard.press('Control+a');
    await page.evaluate(() => (window.fake.choice = 'Stop'));
    await page.getByRole('row').nth(1).click({ button: 'right' });
    expect(await lastCall(page, 'cancel')).toMatchObject({ ids: { length: 2_001 } });
    await page.getByText('Stopped 2,001 transfers').waitFor();
  });
});

describe('keys', () => {
  test('the cursor stays where it is while the list is scrolled far away', async () => {
    const page = await start();
    const order = await ids(page);
    await page.getByRole('row').nth(3).click();
    await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = 100_000));
    await showsRight(page);
    await page.keyboard.press('ArrowDown');
    await cursorAt(page, 5);
    expect((await showsRight(page)).includes(5)).toBe(true);
    await page.keyboard.press('Delete');
    expect(await removed(page)).toEqual([order[4]]);
  });

  test('what is selected far away is removed without moving the list', async () => {
    const page = await start();
    const order = await ids(page);
    await page.getByRole('row').nth(3).click();
    await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = 100_000));
    const [first] = await showsRight(page);
    await page.evaluate(() => (window.fake.slow = 60));
    await page.keyboard.press('Delete');
    await page.keyboard.press('ArrowDown');
    await cursorAt(page, 5);
    expect(await removed(page)).toEqual([order[3]]);
    await page.keyboard.press('ArrowUp');
    await cursorAt(page, 4);
    await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = 100_000));
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: /^All 2,998/ }).waitFor();
    expect((await showsRight(page))[0]).toBe(first);
  });

  test('presses that come faster than answers all count', async () => {
    const page = await start();
    const order = await ids(page);
    await page.getByRole('row').nth(0).click();
    await page.evaluate(() => {
      window.fake.slow = 60;
      const grid = document.querySelector('[role=grid]');
      const press = (key: string, shiftKey = false) =>
        grid?.dispatchEvent(new KeyboardEvent('keydown', { key, shiftKey, bubbles: true, cancelable: true }));
      press('ArrowDown');
      press('End');
      press('ArrowUp');
      press('ArrowUp');
      press('ArrowUp', true);
      press('ArrowUp', true);
      press('Delete');
    });
    expect(await removed(page)).toEqual(order.slice(2_995, 2_998));
    await cursorAt(page, 2_996);
  });

  test('a key that is held goes down row by row', async () => {
    const page = await start();
    await page.getByRole('row').nth(0).click();
    await page.evaluate(() => {
      window.fake.slow = 30;
      const grid = document.querySelector('[role=grid]');
      for (let time = 0; time < 130; time += 1)
        grid?.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true, cancelable: true }));
    });
    await cursorAt(page, 131);
    expect((await showsRight(page)).includes(131)).toBe(true);
  });
});

test('rows can be put behind the last of the queue, far above what is in sight', async () => {
  const page = await start();
  const order = await ids(page);
  const box = await page.getByRole('row').nth(1).boundingBox();
  if (!box) throw new Error('no row');
  await page.mouse.move(box.x + 200, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + 200, box.y + 60, { steps: 3 });
  await page.locator('.gap').waitFor();
  await page.getByRole('grid').evaluate((grid) => (grid.scrollTop = grid.scrollHeight));
  await showsRight(page);
  await page.mouse.move(box.x + 200, box.y + 120, { steps: 2 });
  await page.mouse.up();
  expect(await lastCall(page, 'move_behind')).toEqual({ ids: [order[1]], above: order[2_000] });
  expect((await calls(page)).map(({ command }) => command)).toEqual(['move_behind']);
});
