import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import { calls, lastCall, useStudio } from './support';

const open = useStudio();

/** What has the focus, by the name that a screen reader would say. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute('aria-label') ?? element?.textContent.trim() ?? '';
  });

/** Tab until that has the focus; gives up after more steps than the window has stops. */
async function tabTo(page: Page, name: RegExp, key = 'Tab') {
  for (let step = 0; step < 60; step += 1) {
    if (name.test(await focused(page))) return;
    await page.keyboard.press(key);
  }
  throw new Error(`Nothing called ${name.source} can be reached by ${key}`);
}

test('the whole job without a pointer: begin, bring, watch, pause, continue, show, send, remove, take back', async () => {
  const page = await open({ scenario: 'first-run' });
  await tabTo(page, /^Start with the sandbox$/);
  await page.keyboard.press('Enter');
  await page.getByText('Drop files anywhere').waitFor();

  // Bring a file here.
  await page.keyboard.press('n');
  await page.keyboard.type('re_8f31');
  await page.getByRole('button', { name: 'Enter a key first' }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.getByText('saves to Downloads').waitFor();
  await page.keyboard.press('Enter');
  expect(await lastCall(page, 'download')).toMatchObject({ request: { what: 're_8f31', service: 'sandbox' } });
  const row = page.getByRole('row', { name: /^re_8f31/ });
  await row.waitFor();

  // Watch it, pause it, let it go on.
  await tabTo(page, /^Transfers$/);
  await page.keyboard.press('Home');
  await page.keyboard.press('Enter');
  await row.getByText('What happened').waitFor();
  await page.keyboard.press('Space');
  await row.getByText('Paused').waitFor();
  await page.keyboard.press('Space');
  await page.waitForFunction(() => window.fake.calls.some((call) => call.command === 'resume'));
  await page.keyboard.press('Enter');

  // It is done: show it.
  await page.evaluate(() => {
    const [first] = window.fake.transfers();
    if (!first) return;
    window.fake.edit(first.id, {
      state: { is: 'completed' },
      verified: 'crc32c',
      ended_at: Date.now(),
      path: '/home/ada/Downloads/re_8f31',
    });
  });
  await row.getByText('Verified · CRC32C').waitFor();
  await tabTo(page, /^Show in folder: re_8f31$/);
  await page.keyboard.press('Enter');
  await lastCall(page, 'show_in_folder');

  // Send two files from the system’s dialog.
  await page.keyboard.press('Control+o');
  await lastCall(page, 'upload');
  await page.getByRole('row', { name: /^clip one/ }).waitFor();

  // Remove one and take that back.
  await tabTo(page, /^Transfers$/, 'Shift+Tab');
  await page.keyboard.press('Home');
  await page.keyboard.press('Delete');
  await page.getByText('Removed 1 transfer').waitFor();
  await tabTo(page, /^Undo: Removed/);
  await page.keyboard.press('Enter');
  await page.getByText('Removed 1 transfer').waitFor({ state: 'detached' });
  expect((await calls(page)).some((call) => call.command === 'remove')).toBe(false);
});

describe('the palette', () => {
  const offered = (page: Page) => page.getByRole('dialog').getByRole('option').allTextContents();
  const names = async (page: Page) => (await offered(page)).map((text) => text.trim());

  test('puts what was meant first, and what clears the list last', async () => {
    const page = await open({ scenario: 'busy' });
    for (const typed of ['remove', 'rem', 'Remove ']) {
      await page.keyboard.press('Control+k');
      await page.keyboard.type(typed);
      const [first, ...others] = await names(page);
      expect(first).toMatch(/^Remove\s*(Delete)?$/);
      expect(others.at(-1)).toBe('Remove finished transfers');
      await page.keyboard.press('Escape');
    }
    await page.getByRole('grid').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('remove');
    await page.keyboard.press('Enter');
    expect(await lastCall(page, 'hide')).toMatchObject({ ids: [expect.any(Number)] });
  });

  test('speaks of the selected rows only where they are seen', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('grid').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Control+,');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('remove');
    expect(await names(page)).toEqual(['Remove finished transfers']);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    expect((await names(page)).some((name) => /^(Pause or resume|Select all|Move up)/.test(name))).toBe(false);
  });
});
