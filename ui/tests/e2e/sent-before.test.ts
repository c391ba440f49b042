import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import { calls, findings, lastCall, useStudio } from './support';

const open = useStudio();
const dialog = (page: Page) => page.getByRole('alertdialog');
const sent = ['/home/ada/keynote-final.mp4', '/home/ada/copy of theme music.flac'];
const mixed = [...sent, '/home/ada/new.mp4'];

const drop = (page: Page, paths: string[]) =>
  page.evaluate((all) => {
    window.fake.drag('enter', 600, 400, all);
    window.fake.drag('drop', 600, 400, all);
  }, paths);

/** What became of files that were sent before, in the order in which the engine was told. */
const ways = async (page: Page) =>
  (await calls(page))
    .filter((call) => call.command === 'upload')
    .map((call) => (call.args as { request: { if_sent: string } }).request.if_sent);

describe('files that were sent before', () => {
  test('are asked about once for the whole drop, by name, and nothing starts before the answer', async () => {
    const page = await open({ scenario: 'busy' });
    const before = await page.evaluate(() => window.fake.transfers().length);
    await drop(page, mixed);
    await dialog(page).getByRole('heading', { name: '2 of 3 files were sent to MAVI before' }).waitFor();
    await dialog(page).getByText('copy of theme music.flac').waitFor();
    await dialog(page).getByText('as “theme music.flac”').waitFor();
    expect(await page.evaluate(() => window.fake.transfers().length)).toBe(before);
    expect(await findings(page)).toEqual([]);
    expect(await ways(page)).toEqual(['ask']);
  });

  test('reused: rows that end with the asset that is there, and an undo', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, mixed);
    await dialog(page).getByRole('button', { name: 'Reuse' }).click();
    await page.getByText('Uploading 1 file to MAVI').waitFor();
    await page.getByText('2 files are reused from MAVI').waitFor();
    expect(await lastCall(page, 'upload')).toEqual({ request: { paths: mixed, service: 'mavi', if_sent: 'reuse' } });
    const row = page.getByRole('row', { name: /^copy of theme music/ });
    expect(await row.textContent()).toContain('Sent before; MAVI still has it, nothing was sent again');
    await page.evaluate(() => (window.fake.choice = 'Copy id'));
    await row.click({ button: 'right' });
    await page.getByText('Copied').first().waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('re_4400ab12cd34');
    await page.getByRole('button', { name: /^Undo/ }).click();
    await row.waitFor({ state: 'detached' });
    expect(((await lastCall(page, 'take_back')) as { ids: number[] }).ids.length).toBe(3);
  });

  test('sent again or skipped, as chosen', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, mixed);
    await dialog(page).getByRole('button', { name: 'Send again' }).click();
    await page.getByText('Uploading 3 files to MAVI').waitFor();
    await drop(page, mixed);
    await dialog(page).getByRole('button', { name: 'Skip' }).click();
    await page.getByText('Uploading 1 file to MAVI').waitFor();
    await page.getByText('2 files skipped').waitFor();
    expect(await ways(page)).toEqual(['ask', 'again', 'ask', 'skip']);
  });

  test('by keyboard: Tab goes through the answers, Escape sends nothing', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, sent);
    await dialog(page).getByRole('heading', { name: 'All 2 files were sent to MAVI before' }).waitFor();
    // Nothing else would be sent: that is what Cancel does.
    expect(await dialog(page).getByRole('button', { name: 'Skip' }).count()).toBe(0);
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    expect(await ways(page)).toEqual(['ask']);
    await drop(page, sent.slice(0, 1));
    await dialog(page).getByRole('heading', { name: '“keynote-final.mp4” was sent to MAVI before' }).waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByText('1 file is reused from MAVI').waitFor();
    expect(await ways(page)).toEqual(['ask', 'ask', 'reuse']);
  });

  test('the focus stays in the dialog when the answers come', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, ['/home/ada/large keynote-final.mp4']);
    await dialog(page).getByRole('heading', { name: 'Sent before?' }).waitFor();
    await page.keyboard.press('Tab');
    await dialog(page).getByRole('heading', { name: 'was sent to MAVI before' }).waitFor();
    await page.keyboard.press('Tab');
    await page.waitForFunction(() => document.activeElement?.textContent === 'Reuse');
  });

  test('two drops in a row are two questions, one after the other', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, sent);
    await drop(page, mixed);
    await dialog(page).getByRole('button', { name: 'Reuse' }).click();
    await dialog(page).getByRole('heading', { name: '2 of 3 files were sent to MAVI before' }).waitFor();
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('2 files are reused from MAVI').waitFor();
    expect(await ways(page)).toEqual(['ask', 'reuse', 'ask']);
  });

  test('a comparison that takes long is shown and can be left', async () => {
    const page = await open({ scenario: 'busy' });
    await drop(page, ['/home/ada/endless.img']);
    await dialog(page).getByText('are compared with what was sent to MAVI before').waitFor();
    expect(await findings(page)).toEqual([]);
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
    await dialog(page).waitFor({ state: 'detached' });
    expect((await calls(page)).map((call) => call.command)).toEqual(['upload', 'stop_comparing']);
    await drop(page, ['/home/ada/endless.img']);
    await dialog(page).getByRole('button', { name: 'Send without comparing' }).click();
    await page.getByText('Uploading 1 file to MAVI').waitFor();
    expect(await ways(page)).toEqual(['ask', 'ask', 'again']);
  });
});
