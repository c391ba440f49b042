import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import type { BarMenu, MenuEntry } from '../../src/engine/types';
import { calls, lastCall, nav, settled, speak, useStudio } from './support';

const open = useStudio();

describe('first run', () => {
  test('the sandbox in one click, then a sample in another', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByRole('button', { name: 'Start with the sandbox' }).click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({
      changes: { welcomed: true, default_service: 'sandbox' },
    });
    await page.getByRole('button', { name: 'Make a sample transfer' }).click();
    expect(await lastCall(page, 'download')).toMatchObject({ request: { service: 'sandbox' } });
    await page.getByRole('grid').waitFor();
  });

  test('a key is sent, checked, and forgotten by the page', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByLabel('Key for MAVI').fill('good-key');
    await page.getByRole('button', { name: 'Connect' }).click();
    await page.getByText('MAVI is connected.').waitFor();
    expect(await lastCall(page, 'set_key')).toEqual({ service: 'mavi', key: 'good-key' });
    expect(await lastCall(page, 'save_settings')).toMatchObject({
      changes: { default_service: 'mavi', welcomed: true },
    });
    expect(await page.content()).not.toContain('good-key');
  });

  test('a refused key says so and stays', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByLabel('Key for MAVI').fill('bad-key');
    await page.getByRole('button', { name: 'Connect' }).click();
    await page.getByText('MAVI refused the key. Enter a key that the service accepts.').waitFor();
    expect((await calls(page)).map((call) => call.command)).not.toContain('save_settings');
  });

  test('a refused key is not kept: nothing can be sent with it', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByLabel('Key for MAVI').fill('bad-key');
    await page.keyboard.press('Enter');
    await page.getByText('MAVI refused the key').waitFor();
    expect(await lastCall(page, 'remove_key')).toEqual({ service: 'mavi' });
    await page.evaluate(() => window.fake.drag('enter', 30, 300));
    await page.getByText('to Sandbox').waitFor();
    expect(await page.getByText('MAVI instead').count()).toBe(0);
    await page.evaluate(() => window.fake.drag('leave'));
    await page.getByRole('button', { name: 'Start with the sandbox' }).click();
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    await card.getByText('None yet').waitFor();
    expect(await card.getByText('refused').count()).toBe(0);
  });

  test('without a key the field is asked for it', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByRole('button', { name: 'Connect' }).click();
    await page.getByText('Paste the key first.').waitFor();
    const field = page.getByLabel('Key for MAVI');
    expect(await field.evaluate((one) => one === document.activeElement)).toBe(true);
    expect(await field.getAttribute('aria-invalid')).toBe('true');
    await page.keyboard.type('g');
    await page.getByText('Paste the key first.').waitFor({ state: 'detached' });
    expect(await calls(page)).toEqual([]);
  });

  test('a computer without a keychain: it is said where the key is kept, and on its page', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.evaluate(() => (window.fake.keychain = false));
    await page.getByText('in this computer’s keychain if it has one').waitFor();
    await page.getByLabel('Key for MAVI').fill('good-key');
    await page.keyboard.press('Enter');
    await page.getByText('MAVI is connected.').waitFor();
    await page.getByText('kept only until Ferry is closed').waitFor();
    await nav(page, 'Services');
    await page.getByText('This computer has no keychain, so keys are kept only until Ferry is closed.').waitFor();
    const words = page.getByText('Kept until Ferry is closed');
    expect(await words.evaluate((one) => one.scrollWidth <= one.clientWidth)).toBe(true);
  });

  test.each(['dropped', 'picked by key'])('files %s end it and are shown on their way', async (how) => {
    const page = await open({ scenario: 'first-run' });
    await page.getByRole('button', { name: 'Start with the sandbox' }).waitFor();
    if (how === 'dropped') await page.evaluate(() => window.fake.drag('drop', 30, 700));
    else await page.keyboard.press('Control+o');
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'sandbox' } });
    expect(await lastCall(page, 'save_settings')).toMatchObject({
      changes: { welcomed: true, default_service: 'sandbox' },
    });
    await page.getByRole('grid', { name: 'Transfers' }).getByRole('row').first().waitFor();
  });

  test('what Ferry knows ends it when it is pasted, a key that missed its field does not', async () => {
    const page = await open({ scenario: 'first-run' });
    const paste = async (text: string) => {
      await page.evaluate((words) => navigator.clipboard.writeText(words), text);
      await page.keyboard.press('Control+v');
    };
    await page.getByRole('button', { name: 'Start with the sandbox' }).waitFor();
    await paste('sk-no-id-at-all');
    await settled(page);
    await page.getByRole('button', { name: 'Start with the sandbox' }).waitFor();
    await paste('https://files.example.org/a.mp4');
    await page.getByText('Link to files.example.org').first().waitFor();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { welcomed: true } });
  });

  test('a ferry:// link that is accepted ends it', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.evaluate(() => window.fake.link('https://files.example.org/a.mp4'));
    await page.getByRole('button', { name: 'Download', exact: true }).click();
    await page.getByRole('grid', { name: 'Transfers' }).getByRole('row').first().waitFor();
  });

  test('the folder can be changed', async () => {
    const page = await open({ scenario: 'first-run' });
    await page.getByRole('button', { name: 'Change…' }).click();
    await page.getByText('Files are saved to Data').waitFor();
  });
});

describe('the library', () => {
  test('search, download again, copy the id, ask, delete', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Library');
    await page.getByLabel('Search names and ids').fill('panel');
    await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
    await page.getByRole('row', { name: /panel discussion/ }).click();
    await page.getByRole('button', { name: 'Download again' }).click();
    expect(await lastCall(page, 'download')).toMatchObject({ request: { what: 're_1b6f3de0a410', service: 'mavi' } });
    await page.getByRole('button', { name: 'Copy id' }).click();
    await page.getByText('Copied').first().waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('re_1b6f3de0a410');
    await page.getByRole('button', { name: 'Ask the service' }).click();
    // The service says SUCCESS and 1767225600000.
    await page.getByRole('definition').filter({ hasText: 'Ready' }).waitFor();
    await page.getByRole('definition').filter({ hasText: '1 January 2026 at 00:00:00' }).waitFor();
    // The desktop asks, and nothing changes on a no.
    await page.evaluate(() => (window.fake.agrees = false));
    await page.getByRole('button', { name: 'Delete at MAVI…' }).click();
    await settled(page);
    expect(await page.getByRole('row', { name: /panel discussion.*Deleted/ }).count()).toBe(0);
    await page.evaluate(() => (window.fake.agrees = true));
    await page.getByRole('button', { name: 'Delete at MAVI…' }).click();
    const assets = [{ asset_id: 're_1b6f3de0a410', service: 'mavi' }];
    expect(await lastCall(page, 'asset_delete')).toEqual({ assets });
    await page.getByRole('row', { name: /panel discussion.*Deleted/ }).waitFor();
  });

  test('a row has a menu of what its buttons do', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Library');
    const row = page.getByRole('row', { name: /panel discussion/ });
    await page.evaluate(() => (window.fake.choice = 'Ask the service'));
    await row.click({ button: 'right' });
    await page.getByText('State there').waitFor();
    const buttons = await row.getByRole('button').allTextContents();
    const { groups } = (await lastCall(page, 'open_menu')) as { groups: MenuEntry[][] };
    expect(groups.flat().map((entry) => entry.words)).toEqual(buttons.map((words) => words.trim()));
    await page.evaluate(() => (window.fake.choice = 'Download again'));
    await page.keyboard.press('ContextMenu');
    expect(await lastCall(page, 'download')).toMatchObject({ request: { what: 're_1b6f3de0a410', service: 'mavi' } });
  });

  test('words of a service that Ferry does not know are quoted, a date in text is a date', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Library');
    await page.getByRole('row', { name: /VI583041773/ }).click();
    await page.getByRole('button', { name: 'Ask the service' }).click();
    await page.getByText('“UNPARSE_SOON”, in the service’s own word').waitFor();
    await page.getByText('20 November 2026 at 18:02:11').waitFor();
  });

  test('is counted beside its name while other pages are open', async () => {
    const page = await open({ scenario: 'busy' });
    const place = page.getByRole('navigation', { name: 'Main' }).getByRole('button', { name: 'Library' });
    await place.filter({ hasText: '10' }).waitFor();
    await page.evaluate(() => window.fake.shelve('another one.mp4'));
    await place.filter({ hasText: '11' }).waitFor();
    await nav(page, 'Library');
    await page.getByRole('row', { name: /another one/ }).waitFor();
    await page.evaluate(() => window.fake.shelve('one more.mp4'));
    await page.getByRole('row', { name: /one more/ }).waitFor();
  });

  test('by keyboard, and exported', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Library');
    await page.getByRole('grid', { name: 'Library' }).focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Download again' }).waitFor();
    await page.getByRole('button', { name: 'Export…' }).click();
    await page.getByText('Library saved to /home/ada/library.csv').waitFor();
  });

  test('is imported, also into an empty one', async () => {
    for (const scenario of ['busy', 'empty'] as const) {
      const page = await open({ scenario });
      await nav(page, 'Library');
      await page.getByRole('button', { name: 'Import…' }).click();
      await page.getByText('1 asset read, 1 new').waitFor();
      await page.getByRole('row', { name: /from another computer/ }).waitFor();
    }
  });

  test('an empty one says what it is for', async () => {
    const page = await open({ scenario: 'empty' });
    await nav(page, 'Library');
    await page.getByText('Nothing here yet').waitFor();
  });
});

describe('services', () => {
  test('a key goes in, is checked, and is never shown', async () => {
    const page = await open({ scenario: 'empty' });
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    await card.getByRole('button', { name: 'Enter a key' }).first().click();
    await card.getByLabel('Key for MAVI').fill('secret-key');
    await page.keyboard.press('Enter');
    await card.getByText('Key accepted').waitFor();
    await card.getByText('Reached in 84 ms').waitFor();
    await card.getByText('Saved in the keychain').waitFor();
    expect(await page.content()).not.toContain('secret-key');
    await card.getByText('Default', { exact: true }).waitFor();
    await page.getByText('Files now go to MAVI unless you choose another service.').waitFor();
  });

  test('where files go is where the window says, however they come, also after the default changed', async () => {
    const page = await open({ scenario: 'empty' });
    const service = async () => ((await lastCall(page, 'upload')) as { request: { service: string } }).request.service;
    await page.keyboard.press('Control+o');
    await page
      .getByText(/to Sandbox/)
      .first()
      .waitFor();
    expect(await service()).toBe('sandbox');
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    await card.getByRole('button', { name: 'Enter a key' }).first().click();
    await card.getByLabel('Key for MAVI').fill('secret-key');
    await page.keyboard.press('Enter');
    await page.getByText('Files now go to MAVI').waitFor();
    await nav(page, 'Transfers');
    await page.keyboard.press('Control+o');
    await page
      .getByText(/to MAVI/)
      .first()
      .waitFor();
    expect(await service()).toBe('mavi');
    await page.evaluate(() => window.fake.drag('drop', 30, 700));
    expect(await service()).toBe('mavi');
    // The next switch leaves it alone.
    await nav(page, 'Settings');
    await page.getByLabel('Tell me when a batch is done').click();
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { notifications: false } });
  });

  test('a refused key leaves the default service as it was', async () => {
    const page = await open({ scenario: 'empty' });
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    await card.getByRole('button', { name: 'Enter a key' }).first().click();
    await card.getByLabel('Key for MAVI').fill('bad-key');
    await page.keyboard.press('Enter');
    await card.getByText('Key refused').waitFor();
    await page.keyboard.press('Control+o');
    await page
      .getByText(/to Sandbox/)
      .first()
      .waitFor();
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'sandbox' } });
  });

  test('a refused key shows its cross and its way out', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'Visual Search' });
    await card.getByRole('button', { name: 'Change: Key for Visual Search' }).click();
    await card.getByLabel('Key for Visual Search').fill('bad');
    await card.getByRole('button', { name: 'Save and check' }).click();
    await card.getByText('Key refused').waitFor();
    await card.getByRole('button', { name: 'Enter a new key' }).waitFor();
  });

  test('an address is set up, a key removed', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    const media = page.getByRole('region', { name: 'Media server' });
    await media.getByRole('button', { name: 'Set it up' }).click();
    await media.getByLabel('Address of Media server').fill('https://media.example.org');
    await media.getByRole('button', { name: 'Save' }).click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({
      changes: { offline_tube_url: 'https://media.example.org' },
    });
    await page.getByRole('button', { name: 'Remove the key: MAVI' }).click();
    await page.getByRole('alertdialog').getByRole('button', { name: 'Remove the key' }).click();
    expect(await lastCall(page, 'remove_key')).toEqual({ service: 'mavi' });
    await page.getByRole('region', { name: 'MAVI', exact: true }).getByText('None yet').waitFor();
  });

  test('an address that cannot be used is refused beside the field', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    const media = page.getByRole('region', { name: 'Media server' });
    await media.getByRole('button', { name: 'Set it up' }).click();
    const field = media.getByRole('textbox', { name: 'Address of Media server' });
    await field.fill('media.example.org');
    await media.getByRole('button', { name: 'Save' }).click();
    await media.getByText('The address of “Media server” cannot be used.').waitFor();
    expect(await field.inputValue()).toBe('media.example.org');
    expect(await field.getAttribute('aria-describedby')).toBe(await media.getByRole('alert').getAttribute('id'));
    await field.fill('https://media.example.org');
    await page.keyboard.press('Enter');
    await field.waitFor({ state: 'detached' });
    expect(await media.getByRole('alert').count()).toBe(0);
  });

  test('a check that did not reach a service shows at its dot, and goes with its key', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => (window.fake.unreached = true));
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'MAVI', exact: true });
    expect(await card.locator('h2 svg').getAttribute('class')).toContain('ok');
    await card.getByRole('button', { name: 'Check', exact: true }).click();
    await card.getByText('Not reached').waitFor();
    expect(await card.locator('h2 svg').getAttribute('class')).toContain('bad');
    await page.getByRole('button', { name: /^MAVI ?, not reached/ }).waitFor();
    await card.getByRole('button', { name: 'Remove the key: MAVI' }).click();
    await page.getByRole('alertdialog').getByRole('button', { name: 'Remove the key' }).click();
    await card.getByText('Needs a key').waitFor();
    expect(await card.getByText('Not reached').count()).toBe(0);
    expect(await card.locator('h2 svg').getAttribute('class')).toContain('off');
  });

  test('how uploads are sent', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Services');
    await page.getByRole('combobox', { name: /^Upload as/ }).click();
    await page.getByRole('option', { name: 'A form (POST)' }).click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { upload_method: 'post' } });
  });

  test('a service that the page knows nothing of has a card with all that it says of itself', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() =>
      window.fake.change({
        services: [
          {
            id: 'echo',
            name: 'Echo',
            description: 'Gives back what it was sent',
            uploads: true,
            downloads: true,
            links: 'none',
            may_be_default: true,
            is_at_first: false,
            place: 'address',
            address_setting: 'echo_url',
            address: 'https://echo.example/api',
            address_from_variable: false,
            key: 'missing',
            key_belongs_to: null,
            ready: false,
            problem: null,
            method: null,
            settings: [
              { name: 'echo_voice', label: 'Voice', input: { is: 'choice', of: ['plain', 'loud'] }, value: 'plain' },
              { name: 'echo_name', label: 'Called', input: { is: 'text', at_first: 'nobody' }, value: 'me' },
              { name: 'echo_twice', label: 'Repeats', input: { is: 'switch', yes: 'Twice', no: 'Once' }, value: false },
            ],
          },
        ],
      }),
    );
    await nav(page, 'Services');
    const card = page.getByRole('region', { name: 'Echo' });
    await card.getByText('Gives back what it was sent').waitFor();
    await card.getByText('echo.example/api').waitFor();
    const changes = async () => (await lastCall(page, 'save_settings')) as { changes: unknown };
    await card.getByRole('combobox', { name: /^Voice/ }).click();
    await page.getByRole('option', { name: 'loud' }).click();
    expect((await changes()).changes).toEqual({ echo_voice: 'loud' });
    await card.getByRole('combobox', { name: /^Repeats/ }).click();
    await page.getByRole('option', { name: 'Twice' }).click();
    expect((await changes()).changes).toEqual({ echo_twice: true });
    await card.getByLabel('Called').fill(' ');
    await card.getByLabel('Called').blur();
    expect((await changes()).changes).toEqual({ echo_name: 'nobody' });
    await card.getByRole('button', { name: 'Enter a key' }).click();
    await card.getByLabel('Key for Echo').fill('good-key');
    await page.keyboard.press('Enter');
    expect(await lastCall(page, 'set_key')).toEqual({ service: 'echo', key: 'good-key' });
  });
});

describe('settings', () => {
  test('go out one change at a time, and of each only what it changes', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    await page.getByLabel('Limit downloads').fill('2.5');
    await page.keyboard.press('Tab');
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { limit_down: 2_500_000 } });
    await page.getByLabel('Uploads at a time').fill('99');
    await page.keyboard.press('Tab');
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { concurrent_uploads: 99 } });
    await page.getByText('The number of uploads at a time must be between 1 and 16, not 99.').waitFor();
    await page.getByLabel('Tell me when a batch is done').click();
    await page.waitForFunction(() => window.fake.calls.length === 3);
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { notifications: false } });
    await page.getByRole('button', { name: 'Change…' }).click();
    await page.getByText('/media/ada/Data').waitFor();
  });

  test('what is out of range is refused beside its field, and Escape brings back what was there', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    const field = page.getByLabel('Uploads at a time');
    // The first is refused by the engine; the others are nothing that it could even read.
    for (const [typed, shown] of [
      ['99', '99'],
      ['-1', '-1'],
      ['1e9', '1,000,000,000'],
      ['2.5', '2.5'],
    ] as const) {
      await field.fill(typed);
      await page.keyboard.press('Enter');
      await page.getByText(`between 1 and 16, not ${shown}.`).waitFor();
      expect(await field.inputValue()).toBe(typed);
      expect(await field.getAttribute('aria-invalid')).toBe('true');
    }
    await page.keyboard.press('Escape');
    expect(await field.inputValue()).toBe('3');
    expect(await page.getByRole('alert').count()).toBe(0);
    await field.fill('4');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { concurrent_uploads: 4 } });
  });

  test('no limit and a limit of 0 are the same, too low a one is refused', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    const field = page.getByLabel('Limit downloads');
    const limit = async () =>
      ((await lastCall(page, 'save_settings')) as { changes: { limit_down: number | null } }).changes.limit_down;
    await field.fill('3');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => window.fake.calls.length === 1);
    expect(await limit()).toBe(3_000_000);
    await field.fill('0');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await limit()).toBe(null);
    await page.waitForFunction(() => (document.activeElement as HTMLInputElement).value === '');
    for (const low of ['0.0005', '-1']) {
      await field.fill(low);
      await page.keyboard.press('Enter');
      await page.getByText('The download limit must be at least 1 KiB a second.').waitFor();
      expect(await field.inputValue()).toBe(low);
      await page.keyboard.press('Escape');
      expect(await field.inputValue()).toBe('');
    }
  });

  test('theme and density are seen at once', async () => {
    const page = await open({ scenario: 'busy', theme: 'light' });
    await nav(page, 'Settings');
    await page.getByRole('combobox', { name: /^Theme/ }).click();
    await page.getByRole('option', { name: 'Dark' }).click();
    await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
    await page.getByRole('combobox', { name: /^Rows/ }).click();
    await page.getByRole('option', { name: 'Compact' }).click();
    await page.waitForFunction(() => document.documentElement.dataset.density === 'compact');
    await nav(page, 'Transfers');
    const box = await page.getByRole('row', { name: /interview-raw/ }).boundingBox();
    expect(box?.height).toBeLessThan(45);
  });

  test('light and dark follow the desktop live', async () => {
    const page = await open({ scenario: 'busy', theme: 'light' });
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
  });

  test('sizes are counted as the user says', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByText('816 MB').waitFor();
    await nav(page, 'Settings');
    await page.getByRole('combobox', { name: /^Sizes/ }).click();
    await page.getByRole('option', { name: /^KiB/ }).click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { units: 'binary' } });
    await nav(page, 'Transfers');
    await page.getByText('778 MiB').waitFor();
    expect(await page.getByRole('row', { name: /interview-raw/ }).textContent()).toMatch(/36 MiB\/s/);
  });

  test('the computer stays awake and starts Ferry as told', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    await page.getByRole('switch', { name: 'Keep the computer awake' }).click();
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { keep_awake: false } });
    await page.getByRole('switch', { name: 'Start at login' }).click();
    expect(await lastCall(page, 'save_settings')).toEqual({ changes: { start_at_login: true } });
  });

  test('closing to the tray is offered where a tray is', async () => {
    const page = await open({ scenario: 'busy' });
    const toggle = page.getByRole('switch', { name: 'Keep running when the window is closed' });
    await nav(page, 'Settings');
    await toggle.click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { close_to_tray: true } });

    await page.evaluate(() => (window.fake.tray = false));
    await nav(page, 'Transfers');
    await nav(page, 'Settings');
    await page.getByText('This desktop shows no tray icons').waitFor();
    await toggle.click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { close_to_tray: false } });
    expect(await toggle.isDisabled()).toBe(true);
  });

  test('go out, come in and go back, all at once, and that is undone', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    await page.getByRole('button', { name: 'Export…' }).click();
    await page.getByText('The settings were exported.').waitFor();
    await page.getByRole('button', { name: 'Import…' }).click();
    await page.getByText('The settings were imported.').waitFor();
    expect(await page.evaluate(() => document.documentElement.dataset.density)).toBe('compact');
    await page.getByRole('button', { name: 'Undo' }).click();
    expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { density: 'normal' } });
    await page.waitForFunction(() => document.documentElement.dataset.density === 'normal');
    await page.getByRole('button', { name: 'Reset', exact: true }).click();
    await page.getByText('The settings were reset.').waitFor();
  });

  test('the report is copied', async () => {
    const page = await open({ scenario: 'busy' });
    await nav(page, 'Settings');
    await page.getByRole('button', { name: 'Copy the report' }).click();
    await page.getByText('The report is copied.').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('Ferry 0.1.0');
  });
});

describe('the menu bar of a Mac', () => {
  const userAgent = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)';
  const bar = async (page: Page) => ((await lastCall(page, 'set_menu_bar')) as { menus: BarMenu[] }).menus;

  test('names the commands with their keys, in the language of the window, and they work', async () => {
    const page = await open({ scenario: 'busy', userAgent });
    const entries = (await bar(page)).flatMap((menu) => menu.groups.flat());
    const known = ['settings', 'upload-files', 'add', 'library', 'pause-all', 'shortcuts'];
    const found = entries.filter((entry) => known.includes(entry.id)).map(({ id, keys }) => [id, keys]);
    expect(found).toEqual([
      ['settings', 'Mod+,'],
      ['upload-files', 'Mod+O'],
      ['add', null],
      ['library', 'Mod+2'],
      ['pause-all', null],
      ['shortcuts', null],
    ]);
    await page.evaluate(() => window.fake.command('library'));
    await page.getByRole('grid', { name: 'Library' }).waitFor();
    await speak(page, 'es');
    await page.waitForFunction(() => window.fake.calls.filter((call) => call.command === 'set_menu_bar').length > 1);
    expect((await bar(page)).map((menu) => menu.title)).toContain('Edición');
  });

  test('is not there elsewhere', async () => {
    const page = await open({ scenario: 'busy' });
    expect((await calls(page)).filter((call) => call.command === 'set_menu_bar')).toEqual([]);
  });
});
