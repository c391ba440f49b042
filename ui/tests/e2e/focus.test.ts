import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import { calls, lastCall, nav, useStudio } from './support';

const open = useStudio();

/** Once that has the focus; says what has it instead, if it never does. */
async function hasFocus(page: Page, role: string, name: RegExp) {
  const what = () =>
    page.evaluate(() => {
      const element = document.activeElement;
      const role = element?.getAttribute('role') ?? element?.localName ?? 'nothing';
      return { role, name: element?.getAttribute('aria-label') ?? element?.textContent.trim() ?? '' };
    });
  // Longer than anything takes to come and go.
  await page.waitForTimeout(300);
  expect(await what()).toEqual({ role, name: expect.stringMatching(name) as string });
}

describe('the focus goes', () => {
  test('to the page that a key opens', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('grid').focus();
    await page.keyboard.press('Control+2');
    await hasFocus(page, 'grid', /^Library$/);
    await page.keyboard.press('Control+3');
    await hasFocus(page, 'region', /^Services$/);
    await page.keyboard.press('Control+,');
    await hasFocus(page, 'region', /^Settings$/);
    await page.keyboard.press('Control+1');
    await hasFocus(page, 'grid', /^Transfers$/);
  });

  test('to its heading where there is no list, and stays in the side bar when that is pressed', async () => {
    const page = await open({ scenario: 'empty' });
    await page.getByRole('button', { name: 'Upload', exact: true }).focus();
    await page.keyboard.press('Control+2');
    await hasFocus(page, 'h1', /^Library$/);
    await page.keyboard.press('Control+1');
    await hasFocus(page, 'h1', /^Transfers$/);
    await nav(page, 'Services');
    await hasFocus(page, 'button', /^Services$/);
  });

  test('from the first screen, its key and a sample to what comes after them', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByLabel('Key for MAVI').fill('bad-key');
    await page.getByRole('button', { name: 'Connect' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('MAVI refused the key').waitFor();
    await hasFocus(page, 'button', /^Connect$/);
    await page.getByRole('button', { name: 'Start with the sandbox' }).focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'h1', /^Transfers$/);
    await page.getByRole('button', { name: 'Make a sample transfer' }).focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'grid', /^Transfers$/);
    await page.keyboard.press('Home');
    await page.keyboard.press('Delete');
    await hasFocus(page, 'h1', /^Transfers$/);
    await page.getByRole('button', { name: /^Undo: Removed/ }).focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'grid', /^Transfers$/);
  });

  test('from a toast that goes to the list', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('grid').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Delete');
    const undo = page.getByRole('button', { name: /^Undo: Removed/ });
    await undo.focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'grid', /^Transfers$/);
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Dismiss' }).focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'grid', /^Transfers$/);
  });

  test('from the add bar and the search to the list', async () => {
    const page = await open({ scenario: 'busy' });
    for (const key of ['n', 'f']) {
      await page.keyboard.press(key);
      await page.keyboard.type('re_8f31');
      await page.keyboard.press('Escape');
      await hasFocus(page, 'input', key === 'n' ? /^What to download$/ : /^Search/);
      await page.keyboard.press('Escape');
      await hasFocus(page, 'grid', /^Transfers$/);
    }
    await page.keyboard.press('n');
    await page.keyboard.type('re_8f31');
    await page.getByRole('button', { name: 'Download', exact: true }).focus();
    await page.keyboard.press('Enter');
    await hasFocus(page, 'input', /^What to download$/);
  });

  test('from the fields of a service back to their buttons', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    for (const field of ['Key for MAVI', 'Address of MAVI']) {
      const change = page.getByRole('button', { name: `Change: ${field}` });
      await change.focus();
      await page.keyboard.press('Enter');
      await hasFocus(page, 'input', new RegExp(field));
      await page.keyboard.press('Escape');
      await hasFocus(page, 'button', new RegExp(field));
      await page.keyboard.press('Enter');
      await page.getByLabel(field, { exact: true }).fill('https://mavi.example/api');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.getByText('Reached in 84 ms').waitFor();
      await hasFocus(page, 'button', new RegExp(field));
    }
  });

  test('nowhere while a service is checked, and on when its button goes', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    await card.getByRole('button', { name: 'Check', exact: true }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('Reached in 84 ms').waitFor();
    await hasFocus(page, 'button', /^Check again$/);
    await page.getByRole('button', { name: 'Remove the key: MAVI' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('alertdialog').getByRole('button', { name: 'Remove the key' }).focus();
    await page.keyboard.press('Enter');
    await lastCall(page, 'remove_key');
    await hasFocus(page, 'button', /^Enter a key$/);
  });

  test('nowhere when the library is asked for more', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Library');
    await page.getByRole('row', { name: /panel discussion/ }).click();
    await page.getByRole('button', { name: 'Ask the service' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await page.getByRole('definition').filter({ hasText: 'Ready' }).waitFor();
    await hasFocus(page, 'button', /^Ask the service$/);
    expect((await calls(page)).filter((call) => call.command === 'asset_info').length).toBe(1);
    await page.getByRole('button', { name: 'Download again' }).focus();
    await page.keyboard.press('Enter');
    await lastCall(page, 'download');
    await hasFocus(page, 'button', /^Download again$/);
  });
});
