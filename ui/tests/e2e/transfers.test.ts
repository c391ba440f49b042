import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import type { MenuEntry } from '../../src/engine/types';
import { calls, lastCall, nav, settled, useStudio } from './support';

const open = useStudio();

describe('the add bar', () => {
  test('recognises, says where it saves, and starts with Enter', async () => {
    const page = await open({ scenario: 'busy' });
    await page.keyboard.press('n');
    await page.keyboard.type('re_8f31');
    await page.getByText('saves to Downloads under the name the service gives').waitFor();
    await page.keyboard.press('Enter');
    expect(await lastCall(page, 'download')).toMatchObject({ request: { what: 're_8f31', service: 'mavi' } });
    await page.getByText('Downloading Asset at MAVI').waitFor();
    expect(await page.getByLabel('What to download').inputValue()).toBe('');
  });

  test('another reading can be chosen', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByLabel('What to download').fill('re_8f31');
    await page.getByRole('radio', { name: 'Asset in the sandbox' }).click();
    await page.getByRole('button', { name: 'Download', exact: true }).click();
    expect(await lastCall(page, 'download')).toMatchObject({ request: { service: 'sandbox' } });
  });

  test('what nobody knows is said and starts nothing', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByLabel('What to download').fill('hello there');
    await page.getByText('Nothing that Ferry knows').waitFor();
    await page.keyboard.press('Enter');
    expect(await calls(page)).toEqual([]);
  });

  test('a service without a key leads to its key', async () => {
    const page = await open({ scenario: 'empty' });
    await page.getByLabel('What to download').fill('VI58304');
    await page.getByRole('button', { name: 'Enter a key first' }).click();
    await page.getByLabel('Key for Visual Search').waitFor();
    expect(await page.getByLabel('Key for Visual Search').evaluate((one) => one === document.activeElement)).toBe(true);
  });

  test('a refusal is said and keeps the text', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByLabel('What to download').fill('https://x.example/refused');
    await page.getByText('Link to x.example').first().waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('This link cannot be used. It holds a user name or a password.').waitFor();
    expect(await page.getByLabel('What to download').inputValue()).toContain('refused');
  });

  test('V on the list pastes and recognises', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => navigator.clipboard.writeText('re_from_clipboard'));
    await page.getByRole('grid').focus();
    await page.keyboard.press('v');
    await page.getByText('Asset at MAVI').first().waitFor();
    expect(await page.getByLabel('What to download').inputValue()).toBe('re_from_clipboard');
  });

  test('a clipboard without text is said', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await page.getByRole('grid').focus();
    await page.keyboard.press('v');
    await page.getByText('There is no text on the clipboard.').waitFor();
  });

  describe('several links', () => {
    const links = ['https://a.example/1.mp4', 'https://b.example/2.mp4', 'https://c.example/refused'];
    const started = async (page: Page) =>
      (await calls(page))
        .filter((call) => call.command === 'download')
        .map((call) => (call.args as { request: { what: string; service: string } }).request);

    test.each(['on the list', 'into the bar', 'dropped'])('%s are several downloads, with one undo', async (where) => {
      const page = await open({ scenario: 'busy' });
      const text = `${links.slice(0, 2).join('\r\n')}\r\n\r\n`;
      await page.evaluate((words) => navigator.clipboard.writeText(words), text);
      if (where === 'dropped') {
        await page.evaluate((words) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData('text/uri-list', `# from a page\r\n${words}`);
          document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        }, text);
      } else {
        await (where === 'on the list' ? page.getByRole('grid') : page.getByLabel('What to download')).focus();
        await page.keyboard.press('Control+v');
      }
      await page.getByText('2 links', { exact: true }).waitFor();
      await page.getByLabel('What to download').press('Enter');
      await page.getByText('Downloading 2 links').waitFor();
      expect(await started(page)).toMatchObject(links.slice(0, 2).map((what) => ({ what, service: 'link' })));
      expect(await page.getByLabel('What to download').inputValue()).toBe('');
      await page.getByRole('button', { name: 'Undo' }).click();
      expect((await lastCall(page, 'take_back')) as { ids: number[] }).toMatchObject({
        ids: [expect.any(Number), expect.any(Number)],
      });
    });

    test('the one that is refused stays, the others start', async () => {
      const page = await open({ scenario: 'busy' });
      await page.getByLabel('What to download').fill(links.join(' '));
      await page.getByRole('button', { name: 'Download', exact: true }).click();
      await page.getByText('Downloading 2 links').waitFor();
      await page.getByText('This link cannot be used').waitFor();
      expect(await page.getByLabel('What to download').inputValue()).toBe(links[2]);
    });

    test('among other lines only the first is taken, and that is said', async () => {
      const page = await open({ scenario: 'busy' });
      await page.evaluate(() => navigator.clipboard.writeText('re_8f31\nthe one of yesterday\nhttps://a.example/1'));
      await page.getByRole('grid').focus();
      await page.keyboard.press('v');
      await page.getByText('Only the first of 3 lines was taken').waitFor();
      expect(await page.getByLabel('What to download').inputValue()).toBe('re_8f31');
    });
  });

  test('has the focus once it is asked to, not at every visit', async () => {
    const page = await open({ scenario: 'busy' });
    await page.keyboard.press('n');
    await nav(page, 'Library');
    await nav(page, 'Transfers');
    await page.getByRole('grid', { name: 'Transfers' }).waitFor();
    await settled(page);
    const field = page.getByLabel('What to download');
    expect(await field.evaluate((one) => one === document.activeElement)).toBe(false);
    await page.keyboard.press('n');
    expect(await field.evaluate((one) => one === document.activeElement)).toBe(true);
  });

  test('the undo of a start takes it back', async () => {
    const page = await open({ scenario: 'done' });
    await page.getByLabel('What to download').fill('re_8f31');
    await page.getByText('Asset at MAVI').first().waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Undo' }).click();
    await lastCall(page, 'take_back');
    expect((await calls(page)).map((call) => call.command)).toEqual(['download', 'take_back']);
    await page.getByRole('row', { name: /^re_8f31/ }).waitFor({ state: 'detached' });
    expect(await page.getByText('nothing to undo').count()).toBe(0);
  });

  test('an undo that comes too late says what is where, and deletes it at the service if wanted', async () => {
    const page = await open({ scenario: 'done' });
    const drag = (type: 'enter' | 'drop', paths: string[]) =>
      page.evaluate(([type, paths]) => window.fake.drag(type, 600, 300, paths), [type, paths] as const);
    await drag('enter', ['/home/ada/wrong.mp4']);
    await drag('drop', ['/home/ada/wrong.mp4']);
    await page.getByRole('row', { name: /^wrong.mp4/ }).waitFor();
    await page.evaluate(() => {
      const last = window.fake.transfers().at(-1);
      if (last) window.fake.edit(last.id, { state: { is: 'completed' }, verified: 'crc32c', asset_id: 're_wrong' });
    });
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('1 file is at MAVI already').waitFor();
    expect(await page.getByRole('row', { name: /^wrong.mp4/ }).count()).toBe(1);
    await page.getByRole('button', { name: 'Delete at MAVI…' }).click();
    expect(await lastCall(page, 'asset_delete')).toEqual({ assets: [{ asset_id: 're_wrong', service: 'mavi' }] });
    await page.getByRole('row', { name: /^wrong.mp4/ }).waitFor({ state: 'detached' });
  });

  test('a link dropped from a browser is read, not sent', async () => {
    const page = await open({ scenario: 'done' });
    const drag = (type: 'enter' | 'over' | 'drop', paths: string[]) =>
      page.evaluate(([type, paths]) => window.fake.drag(type, 600, 300, paths), [type, paths] as const);
    const link = 'https://files.example.org/film.mp4';
    await drag('enter', [link]);
    await drag('over', []);
    expect(await page.getByText('Upload 1 file').count()).toBe(0);
    await drag('drop', [link]);
    await expect.poll(() => page.getByLabel('What to download').inputValue()).toBe(link);
    expect((await calls(page)).map((call) => call.command)).not.toContain('upload');
  });

  test('what is on its way already is said to be so, and there is nothing to undo', async () => {
    const page = await open({ scenario: 'done' });
    for (const said of ['Downloading Asset at MAVI', 're_8f31 is on its way already']) {
      await page.getByLabel('What to download').fill('re_8f31');
      await page.getByText('Asset at MAVI').first().waitFor();
      await page.keyboard.press('Enter');
      await page.getByText(said).waitFor();
      // Another moment than that in which it came onto the list.
      await settled(page);
    }
    expect(await page.getByRole('row', { name: /^re_8f31/ }).count()).toBe(1);
    expect(await page.getByRole('button', { name: 'Undo' }).count()).toBe(1);
  });

  test('an undo that takes nothing back says so', async () => {
    const page = await open({ scenario: 'done' });
    await page.getByLabel('What to download').fill('re_8f31');
    await page.getByText('Asset at MAVI').first().waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('row', { name: /^re_8f31/ }).waitFor();
    // Another window takes it off the list.
    await page.evaluate(() => {
      const last = window.fake.transfers().at(-1);
      if (last) window.fake.change({ removed: [last.id] });
    });
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('There was nothing to undo').waitFor();
  });
});

describe('uploading', () => {
  test('files and folders by menu and by key', async () => {
    const page = await open({ scenario: 'empty' });
    await page.getByRole('button', { name: 'Upload', exact: true }).click();
    expect(await lastCall(page, 'upload')).toMatchObject({
      request: { paths: ['/home/ada/clip one.mp4', '/home/ada/clip two.mp4'], service: 'sandbox', if_sent: 'ask' },
    });
    await page.getByText('Uploading 2 files to Sandbox').waitFor();
    await page.getByRole('button', { name: 'Choose what to upload' }).click();
    await page.getByRole('menuitem', { name: 'Folder…' }).click();
    expect(await lastCall(page, 'pick_files')).toEqual({ folders: true });
    await page.keyboard.press('Control+o');
    await page.waitForFunction(() => window.fake.calls.filter((call) => call.command === 'pick_files').length === 3);
  });

  test('a drop anywhere goes to the default service, a drop on another zone to that one', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.drag('enter', 30, 700));
    await page.getByText('Upload 214 files to MAVI').waitFor();
    await page.getByText('3.1 GB · 2 folders').waitFor();
    await page.evaluate(() => window.fake.drag('drop', 30, 700));
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'mavi' } });

    await page.evaluate(() => window.fake.drag('enter', 30, 700));
    const zone = await page.getByText('Sandbox instead').boundingBox();
    if (!zone) throw new Error('no zone');
    await page.evaluate(([x, y]) => window.fake.drag('drop', x, y), [zone.x + 20, zone.y + 20] as const);
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'sandbox' } });
    expect(await page.getByText('Upload 214 files to MAVI').count()).toBe(0);
  });

  test('a drop on a service in the side bar picks it, leaving starts nothing', async () => {
    const page = await open({ scenario: 'busy' });
    const side = await page.getByRole('button', { name: 'Sandbox' }).first().boundingBox();
    if (!side) throw new Error('no service');
    await page.evaluate(() => window.fake.drag('enter', 600, 400));
    await page.evaluate(() => window.fake.drag('leave'));
    expect(await calls(page)).toEqual([]);
    await page.evaluate(([x, y]) => window.fake.drag('enter', x, y), [side.x + 9, side.y + 9] as const);
    // What is said follows, and what is aimed at stands out above the veil.
    await page.getByText('Upload 214 files to Sandbox').waitFor();
    await page.getByText('MAVI instead').waitFor();
    expect(await page.getByText('files to MAVI').count()).toBe(0);
    const top = await page.evaluate(([x, y]) => document.elementFromPoint(x, y)?.closest('button')?.className, [
      side.x + 9,
      side.y + 9,
    ] as const);
    expect(top).toContain('target');
    await page.evaluate(([x, y]) => window.fake.drag('drop', x, y), [side.x + 9, side.y + 9] as const);
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'sandbox' } });
  });

  test('a folder in which nothing is says so', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.drag('enter', 600, 400, ['/home/ada/empty']));
    await page.getByText('There is no file in what was given').waitFor();
    expect(await page.getByText('Counting…').count()).toBe(0);
    expect(await page.getByText('Upload 1 file').count()).toBe(0);
    await page.evaluate(() => window.fake.drag('enter', 600, 400, ['/home/ada/Footage']));
    await page.getByText('Upload 1 file to MAVI').waitFor();
  });
});

test('a drop on the card of a service goes there', async () => {
  const page = await open({ scenario: 'busy', size: 'large' });
  await page.getByRole('navigation', { name: 'Main' }).getByRole('button', { name: 'Services' }).click();
  const card = await page.getByRole('region', { name: 'Sandbox', exact: true }).boundingBox();
  if (!card) throw new Error('no card');
  const [x, y] = [card.x + 12, card.y + card.height - 12];
  await page.evaluate(([x, y]) => window.fake.drag('enter', x, y), [x, y] as const);
  await page.evaluate(([x, y]) => window.fake.drag('drop', x, y), [x, y] as const);
  expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'sandbox' } });
});

describe('rows', () => {
  test('show the truth: known size, unknown size, preparing, verifying, waiting', async () => {
    const page = await open({ scenario: 'busy' });
    const row = (name: RegExp) => page.getByRole('row', { name });
    expect(await row(/interview-raw/).textContent()).toMatch(/68%.*816 MB.*38 MB\/s · 12 s left/);
    expect(await row(/VI5830/).textContent()).toMatch(/size unknown.*214 MB.*41 MB\/s/);
    expect(await row(/lecture 4/).textContent()).toMatch(/41%.*on the server/);
    expect(await row(/panel discussion/).textContent()).toMatch(/99%/);
    expect(await row(/b-roll/).textContent()).toMatch(
      /The connection broke before everything had arrived.*Trying again in/,
    );
    expect(await row(/transcripts/).textContent()).toMatch(/Next in line/);
    expect(await row(/keynote/).textContent()).toMatch(/Verified · CRC32C/);
    expect(await row(/interview-raw/).getAttribute('aria-label')).toBe(
      'interview-raw.mp4, uploading to MAVI, 68%, 12 s left',
    );
  });

  test('follow the engine', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.edit(1, { bytes: 900_000_000, seconds_left: 5 }));
    await page.getByText('38 MB/s · 5 s left').waitFor();
    await page.evaluate(() =>
      window.fake.edit(1, { state: { is: 'completed' }, verified: 'sha256', ended_at: Date.now() }),
    );
    await page.getByText('Verified · SHA-256').first().waitFor();
    await page.getByText('interview-raw.mp4 is complete.').waitFor({ state: 'attached' });
  });

  test('a gap in the revision opens the list anew', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.change({}, 3));
    await page.waitForFunction(() => window.fake.openings === 2);
  });

  test('pause, continue, stop and try again from the row', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('button', { name: 'Pause: interview-raw.mp4' }).click();
    await page.getByRole('button', { name: 'Resume: interview-raw.mp4' }).click();
    await page.getByRole('button', { name: 'Stop: interview-raw.mp4' }).click();
    await page.getByRole('button', { name: 'Try again: interview-raw.mp4' }).click();
    await page.waitForFunction(() => window.fake.calls.length === 4);
    expect((await calls(page)).map((call) => call.command)).toEqual(['pause', 'resume', 'cancel', 'retry']);
  });

  test('the rest of a double click does nothing to what came under the pointer', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('button', { name: 'Stop: interview-raw.mp4' }).dblclick();
    await page.getByRole('button', { name: 'Try again: interview-raw.mp4' }).waitFor();
    await page.getByRole('button', { name: 'Resume: drone flight.mkv' }).dblclick();
    await settled(page);
    expect((await calls(page)).map((call) => call.command)).toEqual(['cancel', 'resume']);
    await page.getByRole('button', { name: 'Remove: interview-raw.mp4' }).click();
    await lastCall(page, 'hide');
  });

  test('say which way also when nothing moves', async () => {
    const page = await open({ scenario: 'busy' });
    const name = (row: RegExp) => page.getByRole('row', { name: row }).getAttribute('aria-label');
    expect(await name(/^keynote/)).toBe('keynote-final.mp4, download from MAVI, Complete, Verified · CRC32C');
    expect(await name(/^cover/)).toBe('cover.png, upload to MAVI, Complete, Verified · CRC32C');
    expect(await name(/^subtitles/)).toBe('subtitles.srt, upload to MAVI, Waiting for a free slot');
    expect(await name(/^archive-2019/)).toMatch(/^archive-2019.zip, download from MAVI, Needs you, /);
  });

  test('without a name yet: the folder is no name', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.edit(4, { path: '/home/ada/Downloads' }));
    await page.getByRole('row', { name: /^archive-2019/ }).dblclick();
    await page.getByText('Will be saved in').waitFor();
    await page.evaluate(() => window.fake.edit(4, { path: '/home/ada/Downloads/archive-2019.zip' }));
    await page.getByText('Will be saved as').waitFor();
  });

  test('show and open what is done', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('button', { name: 'Show in folder: keynote-final.mp4' }).click();
    await page.getByRole('button', { name: 'Open file: keynote-final.mp4' }).click();
    await lastCall(page, 'open_file');
    expect((await calls(page)).map((call) => call.command)).toEqual(['show_in_folder', 'open_file']);
  });

  test('removing can be undone, and is final only after that', async () => {
    const page = await open({ scenario: 'done' });
    await page.getByRole('row', { name: /keynote-final/ }).click();
    await page.keyboard.press('Delete');
    await page.getByText('Removed 1 transfer').waitFor();
    await page.getByRole('row', { name: /keynote-final/ }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByRole('row', { name: /keynote-final/ }).waitFor();
    expect((await calls(page)).map((call) => call.command)).toEqual(['hide', 'unhide']);
    await page.keyboard.press('Escape');
    await page.getByRole('row', { name: /keynote-final/ }).click();
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await lastCall(page, 'remove');
    expect(await page.evaluate(() => window.fake.transfers().some((one) => one.name.startsWith('keynote')))).toBe(
      false,
    );
  });

  test('one that moves is paused while its removal can be undone, and goes on after that', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('row', { name: /interview-raw/ }).click();
    await page.keyboard.press('Delete');
    await page.getByText('Removed 1 transfer').waitFor();
    const state = () => page.evaluate(() => window.fake.transfers().find((one) => one.id === 1)?.state.is);
    expect(await state()).toBe('paused');
    // The cursor is on the row that took its place.
    await page.waitForFunction(() => document.querySelector('.row.cursor')?.getAttribute('aria-rowindex') === '1');
    await page.getByRole('button', { name: 'Undo' }).click();
    expect(await lastCall(page, 'resume')).toEqual({ ids: [1] });
    await page.getByRole('row', { name: /interview-raw/ }).waitFor();
  });

  test('a removal that is refused brings them back', async () => {
    const page = await open({ scenario: 'done' });
    await page.evaluate(() => (window.fake.refused = 'remove'));
    await page.getByRole('row', { name: /keynote-final/ }).click();
    await page.keyboard.press('Delete');
    await page.getByRole('row', { name: /keynote-final/ }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await page.getByRole('row', { name: /keynote-final/ }).waitFor();
  });

  test('a row that has gone does not keep the others of a selection from being removed', async () => {
    const page = await open({ scenario: 'done' });
    const before = await page.getByRole('row').count();
    await page.getByRole('row').nth(0).click();
    await page
      .getByRole('row')
      .nth(1)
      .click({ modifiers: ['Control'] });
    const gone = Number(await page.getByRole('row').nth(0).getAttribute('data-id'));
    const goes = Number(await page.getByRole('row').nth(1).getAttribute('data-id'));
    await page.evaluate((id) => window.fake.change({ removed: [id] }), gone);
    await page.getByRole('grid').focus();
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await lastCall(page, 'remove')).toEqual({ ids: [goes] });
    await settled(page);
    expect(await page.getByRole('row').count()).toBe(before - 2);
  });

  test('what a search leaves out is not selected any more', async () => {
    const page = await open({ scenario: 'done' });
    await page.getByRole('grid').focus();
    await page.keyboard.press('Control+a');
    await page.waitForFunction(() => document.querySelectorAll('[role=row][aria-selected=true]').length > 1);
    await page.getByLabel('Search').fill('keynote-final');
    await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
    expect(await page.locator('[role=row][aria-selected=true]').count()).toBe(0);
  });

  test('open into their details and can be copied from', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => {
      window.fake.step();
      window.fake.step();
      window.fake.step();
    });
    await page.getByRole('row', { name: /interview-raw/ }).dblclick();
    await page.getByText('Sending to the store').waitFor();
    await page.getByRole('img', { name: /Speed over time/ }).waitFor();
    await page.getByText('MAVI · storage.example.org').waitFor();
    await page.getByRole('button', { name: 'Copy Id at the service' }).click();
    await page.getByText('Copied').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('re_77aa02e91c55');
    await page.keyboard.press('Escape');
  });
});

describe('finished images and videos', () => {
  test('show a picture, in the row and in the details', async () => {
    const page = await open({ scenario: 'busy' });
    const row = page.getByRole('row', { name: /keynote-final/ });
    await row.locator('.file-icon img').waitFor();
    expect(
      await page
        .getByRole('row', { name: /theme music/ })
        .locator('img')
        .count(),
    ).toBe(0);
    expect(
      await page
        .getByRole('row', { name: /interview-raw/ })
        .locator('img')
        .count(),
    ).toBe(0);
    await row.dblclick();
    await page.getByRole('img', { name: 'Preview of keynote-final.mp4' }).waitFor();
  });

  test('a file that is gone is said, and what is known is downloaded again', async () => {
    const page = await open({ scenario: 'done', size: 'large' });
    const row = page.getByRole('row', { name: /photos of the site/ });
    await row.dblclick();
    await page.getByText('The file is not where it was saved any more. It can be').waitFor();
    // That it was proven when it came is for the details.
    await row.locator('.badge', { hasText: 'Not there any more' }).waitFor();
    expect(await row.locator('.badge').count()).toBe(1);
    expect(await row.getAttribute('aria-label')).toContain('Not there any more');
    await row.getByText('On arrival').waitFor();
    await row.getByText('Verified by SHA-256').waitFor();
    await page.getByRole('button', { name: 'Download again' }).click();
    expect(await lastCall(page, 'download_again')).toEqual({ id: 14 });
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    await page.getByRole('row', { name: /keynote-final/ }).dblclick();
    await page.getByText('Verified by').or(page.getByText('What happened')).first().waitFor();
    expect(await page.getByText('not where it was').count()).toBe(0);
  });

  test('a link of which something was hidden has to be pasted once more', async () => {
    const page = await open({ scenario: 'done', size: 'large' });
    await page.evaluate(() => window.fake.edit(14, { asset_id: undefined, service: 'link' }));
    await page.getByRole('row', { name: /photos of the site/ }).dblclick();
    await page.getByText('To download it again, paste a new link.').waitFor();
    await page.getByRole('button', { name: 'Paste a new link' }).click();
    expect(await page.getByLabel('What to download').evaluate((one) => one === document.activeElement)).toBe(true);
  });

  test('one that cannot be shown is marked, and says what can be done', async () => {
    const page = await open({ scenario: 'done', size: 'large' });
    const row = page.getByRole('row', { name: /photos of the site/ });
    await row.getByRole('button', { name: 'Show in folder' }).click();
    await page.getByText('Put it back where it was, or connect its drive').waitFor();
    await row.locator('.badge', { hasText: 'Not there any more' }).waitFor();
    // It is back.
    await page.evaluate(() => window.fake.edit(14, { name: 'photos.zip' }));
    await page.getByRole('button', { name: 'Show in folder: photos.zip' }).click();
    await page
      .getByRole('row', { name: /^photos.zip/ })
      .locator('.badge', { hasText: 'Verified' })
      .waitFor();
  });
});

describe('the pictures of the details', () => {
  test('a map of what has arrived, in as many stretches as there are', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('row', { name: /drone flight/ }).dblclick();
    await page.getByRole('img', { name: '32% of the file is there, in 4 stretches' }).waitFor();
    const places = await page.locator('.map i').evaluateAll((all) => all.map((one) => (one as HTMLElement).offsetLeft));
    expect(places.toSorted((a, b) => a - b)).toEqual(places);
    expect(new Set(places).size).toBe(4);
    await page.getByRole('row', { name: /archive-2019/ }).dblclick();
    await page.getByRole('img', { name: '83% of the file is there, in 1 stretch' }).waitFor();
  });

  test('the speed is there after a reload and after the end; of what is whole there is no map', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('row', { name: /keynote-final/ }).dblclick();
    await page.getByRole('img', { name: /Speed over time/ }).waitFor();
    expect(await page.locator('.map').count()).toBe(0);
  });

  test('are asked for once a second at most, only for the open row, and not while nothing changes', async () => {
    const page = await open({ scenario: 'busy' });
    const looks = () => page.evaluate(() => window.fake.looks);
    await page.evaluate(() => window.fake.step());
    expect(await looks()).toBe(0);
    await page.getByRole('row', { name: /interview-raw/ }).dblclick();
    await page.waitForFunction(() => window.fake.looks === 1);
    await page.evaluate(async () => {
      for (let step = 0; step < 11; step += 1) {
        window.fake.step();
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    });
    const asked = await looks();
    expect(asked).toBeGreaterThanOrEqual(3);
    expect(asked).toBeLessThanOrEqual(4);
    await page.waitForTimeout(1_200);
    const rested = await looks();
    await page.waitForTimeout(1_500);
    expect(await looks()).toBe(rested);
  });
});

test('the day is summed up at the foot of the list', async () => {
  const page = await open({ scenario: 'many', size: 'small' });
  const today = page.getByRole('button', { name: /^Today:/ });
  await today.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Today' }).waitFor();
  await page.getByRole('img', { name: /^Most in the hour from .*: .*B$/ }).waitFor();
  await page.keyboard.press('Escape');
  expect(await today.evaluate((one) => one === document.activeElement)).toBe(true);
});

describe('by keyboard', () => {
  test('walk, select, open, pause', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('grid').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Shift+ArrowDown');
    expect(await page.getByRole('row', { selected: true }).count()).toBe(2);
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByText('What happened').waitFor();
    await page.keyboard.press('Enter');
    expect(await page.getByText('What happened').count()).toBe(0);
    await page.keyboard.press('Space');
    expect(await lastCall(page, 'pause')).toEqual({ ids: [1] });
    await page.keyboard.press('Control+a');
    expect(await page.getByRole('row', { selected: true }).count()).toBeGreaterThan(9);
  });

  test('Ctrl and Space select the row of the cursor, or not', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('row').nth(0).click();
    await page.keyboard.press('Control+ArrowDown');
    await page.keyboard.press('Control+ArrowDown');
    await page.keyboard.press('Control+Space');
    await page.waitForFunction(() => document.querySelectorAll('[role=row][aria-selected=true]').length === 2);
    expect(await page.getByRole('row').nth(2).getAttribute('aria-selected')).toBe('true');
    await page.keyboard.press('Control+Space');
    await page.waitForFunction(() => document.querySelectorAll('[role=row][aria-selected=true]').length === 1);
    expect(await calls(page)).toEqual([]);
  });

  test('Alt and arrows reorder the queue', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('row', { name: /subtitles/ }).click();
    await page.keyboard.press('Alt+ArrowUp');
    expect(await lastCall(page, 'move_rows')).toEqual({ ids: [8], to: 'up' });
    await page.keyboard.press('Alt+ArrowDown');
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await lastCall(page, 'move_rows')).toEqual({ ids: [8], to: 'down' });
  });

  test('the palette, the sheet and the settings', async () => {
    const page = await open({ scenario: 'busy' });
    await page.keyboard.press('Control+k');
    await page.keyboard.type('library');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Library' }).waitFor();
    await page.keyboard.press('Control+,');
    await page.getByRole('heading', { name: 'Settings', exact: true }).waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+1');
    await page.getByRole('grid', { name: 'Transfers' }).waitFor();
    await page.keyboard.press('f');
    await page.keyboard.type('keynote');
    await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
  });
});

describe('dragging rows', () => {
  const row = (page: Page, name: RegExp) => page.getByRole('row', { name });
  const middle = async (page: Page, name: RegExp) => {
    const box = await row(page, name).boundingBox();
    if (!box) throw new Error('no such row');
    return { x: box.x + 200, y: box.y + box.height / 2, height: box.height };
  };

  async function drag(page: Page, what: RegExp, where: RegExp, side: 'above' | 'below') {
    const from = await middle(page, what);
    const to = await middle(page, where);
    await page.mouse.move(from.x, from.y);
    await page.mouse.down();
    await page.mouse.move(from.x + 3, from.y + 8);
    await page.mouse.move(to.x, to.y + (side === 'above' ? -1 : 1) * (to.height / 4), { steps: 4 });
  }

  test('puts one of the queue elsewhere', async () => {
    const page = await open({ scenario: 'busy', size: 'large' });
    await drag(page, /drone flight/, /interview-raw/, 'below');
    await page.locator('.gap').waitFor();
    expect(await page.locator('.held .truncate').last().textContent()).toBe('drone flight.mkv');
    await page.mouse.up();
    expect(await lastCall(page, 'move_behind')).toEqual({ ids: [9], above: 1 });
    expect(await page.locator('.gap').count()).toBe(0);
    await page.waitForFunction(() =>
      document.querySelectorAll('[role=row]')[1]?.getAttribute('aria-label')?.startsWith('drone'),
    );
    // The click at the end of a drag selects nothing.
    expect(await page.getByRole('row', { selected: true }).count()).toBe(0);
  });

  test('takes everything that is selected along, in its order', async () => {
    const page = await open({ scenario: 'busy', size: 'large' });
    await row(page, /subtitles/).click();
    await row(page, /transcripts/).click({ modifiers: ['Control'] });
    await drag(page, /subtitles/, /interview-raw/, 'above');
    expect(await page.locator('.held.several').textContent()).toContain('2 transfers');
    await page.mouse.up();
    expect(await lastCall(page, 'move_behind')).toMatchObject({ above: null });
    const names = () => page.getByRole('row').evaluateAll((all) => all.map((one) => one.getAttribute('data-id')));
    await expect.poll(async () => (await names()).slice(0, 3)).toEqual(['7', '8', '1']);
  });

  test('ends at the last row that is still to be done, and Escape takes it back', async () => {
    const page = await open({ scenario: 'busy', size: 'large' });
    await drag(page, /transcripts/, /keynote-final/, 'below');
    await page.keyboard.press('Escape');
    expect(await page.locator('.gap').count()).toBe(0);
    await page.mouse.up();
    expect(await calls(page)).toEqual([]);
    await drag(page, /transcripts/, /keynote-final/, 'below');
    await page.mouse.up();
    expect(await lastCall(page, 'move_behind')).toEqual({ ids: [7], above: 9 });
  });

  test('moves nothing that is given up, and nothing in another order', async () => {
    const page = await open({ scenario: 'busy', size: 'large' });
    await drag(page, /wrong take/, /interview-raw/, 'above');
    await page.mouse.up();
    await page.getByRole('button', { name: /Sort by/ }).click();
    await page.getByRole('menuitemradio', { name: 'Name' }).click();
    await drag(page, /transcripts/, /interview-raw/, 'above');
    expect(await page.locator('.gap').count()).toBe(0);
    await page.mouse.up();
    expect(await calls(page)).toEqual([]);
  });

  test('scrolls a long list at its edge', async () => {
    const page = await open({ scenario: 'many', size: 'small' });
    const first = await page.getByRole('row').first().boundingBox();
    const list = await page.getByRole('grid').boundingBox();
    if (!first || !list) throw new Error('no list');
    await page.mouse.move(first.x + 200, first.y + 20);
    await page.mouse.down();
    await page.mouse.move(first.x + 200, first.y + 60);
    await page.mouse.move(first.x + 200, list.y + list.height - 4);
    await page.waitForFunction(() => (document.querySelector('[role=grid]')?.scrollTop ?? 0) > 600);
    await page.mouse.up();
    await lastCall(page, 'move_behind');
  });
});

test('a finished row is handed to the pointer, with what is selected', async () => {
  const page = await open({ scenario: 'done', size: 'large' });
  const box = await page.getByRole('row', { name: /keynote-final/ }).boundingBox();
  if (!box) throw new Error('no row');
  await page.getByRole('row', { name: /informe/ }).click();
  await page.getByRole('row', { name: /keynote-final/ }).click({ modifiers: ['Control'] });
  await page.mouse.move(box.x + 200, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + 230, box.y + 60, { steps: 3 });
  expect(await lastCall(page, 'drag_out')).toEqual({ ids: [11, 10] });
  // Let go over this very window after all: what came down is not sent off again.
  await page.evaluate(() => {
    const chosen = window.fake.transfers().filter((row) => [10, 11].includes(row.id));
    const paths = chosen.flatMap((row) => row.path ?? []);
    window.fake.drag('enter', 600, 400, paths);
    window.fake.drag('over', 600, 400, paths);
    window.fake.drag('drop', 600, 400, paths);
  });
  await page.mouse.up();
  expect((await calls(page)).map((call) => call.command)).toEqual(['drag_out']);
});

describe('a link from elsewhere', () => {
  const dialog = (page: Page) => page.getByRole('alertdialog');

  test('asks, shows what it is, and starts only on yes', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.link('re_8f31c0d4b7a2'));
    await dialog(page).getByText('re_8f31c0d4b7a2').waitFor();
    expect(await dialog(page).getByRole('radio', { checked: true }).textContent()).toContain('Asset at MAVI');
    // Another one does not change the question.
    await page.evaluate(() => window.fake.link('re_other'));
    await settled(page);
    expect(await dialog(page).textContent()).toContain('re_8f31c0d4b7a2');
    // Enter and Escape both say no: the first button has the focus.
    await page.keyboard.press('Escape');
    expect(await lastCall(page, 'answer_link')).toMatchObject({ service: null });
    await page.evaluate(() => window.fake.link('re_8f31c0d4b7a2'));
    await dialog(page).getByRole('radio', { name: 'Asset in the sandbox' }).click();
    await dialog(page).getByRole('button', { name: 'Download', exact: true }).click();
    await page.waitForFunction(() => window.fake.calls.length === 2);
    expect(await lastCall(page, 'answer_link')).toMatchObject({ service: 'sandbox' });
    await page.getByText('Downloading Asset in the sandbox').waitFor();
    expect(await dialog(page).count()).toBe(0);
  });

  test('what Ferry does not do is refused in words', async () => {
    const page = await open({ scenario: 'busy' });
    await page.evaluate(() => window.fake.link(''));
    await dialog(page).getByText('Nothing was done.').waitFor();
    expect(await dialog(page).getByRole('button').count()).toBe(1);
    await dialog(page).getByRole('button', { name: 'Close' }).click();
    expect(await lastCall(page, 'answer_link')).toMatchObject({ service: null });
  });
});

describe('the menu of a row', () => {
  const choose = (page: Page, words: string) => page.evaluate((choice) => (window.fake.choice = choice), words);
  const words = async (page: Page) => {
    const { groups } = (await lastCall(page, 'open_menu')) as { groups: MenuEntry[][] };
    return groups.map((group) => group.map((entry) => entry.words));
  };

  test('speaks about the row under the pointer, or about the selection', async () => {
    const page = await open({ scenario: 'busy' });
    await choose(page, 'Pause');
    await page.getByRole('row', { name: /interview-raw/ }).click({ button: 'right' });
    expect(await lastCall(page, 'pause')).toEqual({ ids: [1] });
    await page.getByRole('row', { name: /subtitles/ }).click();
    await page.getByRole('row', { name: /transcripts/ }).click({ modifiers: ['Control'] });
    await choose(page, 'Stop');
    await page.getByRole('row', { name: /transcripts/ }).click({ button: 'right' });
    expect(await lastCall(page, 'cancel')).toEqual({ ids: [8, 7] });
    expect((await words(page)).flat()).not.toContain('Copy name');
  });

  test('opens below the row of the cursor when a key asks for it, and closes without a choice', async () => {
    const page = await open({ scenario: 'busy' });
    const row = page.getByRole('row', { name: /interview-raw/ });
    await row.click();
    await page.keyboard.press('ContextMenu');
    const { at } = (await lastCall(page, 'open_menu')) as { at: { x: number; y: number } };
    const box = await row.boundingBox();
    expect(Math.abs(at.y - (box?.y ?? 0) - (box?.height ?? 0))).toBeLessThan(2);
    expect(await words(page)).toContainEqual(['Stop', 'Remove']);
    expect((await calls(page)).filter((call) => ['pause', 'cancel', 'remove'].includes(call.command))).toEqual([]);
  });

  test('a key reaches a row that was scrolled out of sight', async () => {
    const page = await open({ scenario: 'many' });
    const grid = page.getByRole('grid');
    await grid.focus();
    await page.keyboard.press('ArrowDown');
    await grid.evaluate((one) => (one.scrollTop = one.scrollHeight / 2));
    await page.waitForFunction(() => document.querySelector('[role=row][aria-rowindex="2"]') === null);
    await choose(page, 'Copy name');
    await page.keyboard.press('ContextMenu');
    await page.getByText('Copied').first().waitFor();
    await page.waitForFunction(() => document.querySelector('[role=row][aria-rowindex="2"]') !== null);
  });

  test('offers the way out of a failure, and what it copies is on the clipboard', async () => {
    const page = await open({ scenario: 'failed' });
    const remedy = page.getByRole('button', { name: 'Sign again' });
    const failed = page.getByRole('row').filter({ has: remedy }).first();
    await choose(page, 'Copy name');
    await failed.click({ button: 'right' });
    expect((await words(page))[0]).toContain('Sign again');
    await page.getByText('Copied').first().waitFor();
    const name = await page.evaluate(() => navigator.clipboard.readText());
    expect(await failed.textContent()).toContain(name);
  });

  test('leaves text fields to the webview, and everything else gets none', async () => {
    const page = await open({ scenario: 'busy' });
    const kept = (selector: string) =>
      page.locator(selector).evaluate((element) => {
        const event = new MouseEvent('contextmenu', { bubbles: true, cancelable: true });
        return element.dispatchEvent(event);
      });
    expect(await kept('.add input')).toBe(true);
    expect(await kept('.side')).toBe(false);
  });
});

describe('tabs, search and order', () => {
  test('narrow the list and count it', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByRole('button', { name: 'Needs you 1' }).click();
    await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
    await page.getByRole('button', { name: /^All/ }).click();
    await page.getByRole('button', { name: /Sort by/ }).click();
    await page.getByRole('menuitemradio', { name: 'Name' }).click();
    await expect.poll(() => page.getByRole('row').first().getAttribute('aria-label')).toMatch(/^archive-2019/);
    await page.getByLabel('Search transfers').fill('nothing like it');
    await page.getByText('Nothing matches').waitFor();
    await page.getByRole('main').getByRole('button', { name: 'Clear the search' }).last().click();
    await page.getByRole('grid').waitFor();
  });

  test('pause all and continue all', async () => {
    const page = await open({ scenario: 'busy' });
    await page.getByText('4 running · 3 waiting · 1 paused').waitFor();
    await page.getByRole('button', { name: 'Pause all' }).click();
    await page.getByRole('button', { name: 'Resume all' }).click();
    expect(await lastCall(page, 'resume')).toMatchObject({ ids: expect.arrayContaining([1, 2, 3]) as unknown });
  });
});

describe('failures', () => {
  test('every one has words and a way out', async () => {
    const page = await open({ scenario: 'failed', size: 'large' });
    await page.getByRole('button', { name: 'Needs you 26' }).waitFor();
    for (const label of ['Enter a key', 'Try again', 'Remove', 'Check the service', 'Start over']) {
      await page.getByRole('button', { name: label, exact: true }).first().waitFor();
    }
  });

  test('the buttons do what they say', async () => {
    const page = await open({ scenario: 'failed' });
    const search = page.getByLabel('Search transfers');
    const press = (name: string) => page.getByRole('grid').getByRole('button', { name, exact: true }).click();
    const only = async (name: string) => {
      await search.fill(name);
      await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
    };
    await only('take 11.mp4');
    await press('Sign again');
    expect(await lastCall(page, 'retry')).toEqual({ ids: [11] });
    await only('take 17.mp4');
    await press('Choose a folder…');
    expect(await lastCall(page, 'choose_folder_for')).toEqual({ id: 17 });
    await only('take 18.mp4');
    await press('Choose the file…');
    expect(await lastCall(page, 'upload')).toMatchObject({ request: { service: 'mavi' } });
    await only('take 9.mp4');
    await press('Delete at the service…');
    expect(await lastCall(page, 'asset_delete')).toEqual({ assets: [{ asset_id: 're_000', service: 'mavi' }] });
    await only('take 26.mp4');
    await press('Copy a report');
    await page.getByText('The report is copied.').waitFor();
    await only('take 12.mp4');
    await press('Paste a new link');
    expect(await page.getByLabel('What to download').evaluate((one) => one === document.activeElement)).toBe(true);
    await only('take 1.mp4');
    await press('Enter a key');
    await page.getByLabel('Key for MAVI').waitFor();
  });

  test('what can be put right elsewhere can be tried again, and a link has no service to check', async () => {
    const page = await open({ scenario: 'failed' });
    const ways = async (name: string) => {
      await page.getByLabel('Search transfers').fill(name);
      const row = page.getByRole('row', { name: new RegExp(`^${name}`) });
      await row.dblclick();
      const buttons = row.locator('.ways').getByRole('button');
      await buttons.first().waitFor();
      return buttons.allTextContents();
    };
    const said = (words: string[]) => words.map((one) => one.trim());
    expect(said(await ways('take 6.mp4'))).toEqual(['Check the service', 'Try again', 'Remove']);
    expect(said(await ways('take 18.mp4'))).toEqual(['Choose the file…', 'Try again', 'Remove']);
    expect(said(await ways('take 24.mp4'))).toEqual(['Check the service', 'Remove']);
    await page.evaluate(() => window.fake.edit(6, { service: 'link' }));
    expect(said(await ways('take 6.mp4'))).toEqual(['Try again', 'Remove']);
  });
});

test('a full disk leaves two ways out, and the reason can be copied', async () => {
  const page = await open({ scenario: 'failed' });
  await page.getByRole('row', { name: /^take 13/ }).dblclick();
  const panel = page.getByRole('row', { name: /^take 13/ });
  await panel.getByText('1.4 GB more is needed in “/media/ada/Data”', { exact: true }).waitFor();
  await panel.getByText('The disk is full · disk_full').waitFor();
  await panel.getByRole('button', { name: 'Try again', exact: true }).waitFor();
  await panel.getByRole('button', { name: 'Choose a folder…' }).click();
  expect(await lastCall(page, 'choose_folder_for')).toEqual({ id: 13 });
});

describe('bad days', () => {
  test('offline says what waits', async () => {
    const page = await open({ scenario: 'offline' });
    await page.getByText('3 transfers wait and go on by themselves once the network is back.').waitFor();
  });

  test('a refused key is one card', async () => {
    const page = await open({ scenario: 'broken' });
    await page.getByText('Picked up 3 transfers where they stood.').waitFor();
    await page.getByText('MAVI refused the key.').first().waitFor();
    await page.getByRole('button', { name: 'Enter a key' }).first().click();
    await page.getByLabel('Key for MAVI').waitFor();
  });

  test('an engine that does not answer is asked again', async () => {
    const page = await open({ scenario: 'unreachable' });
    await page.getByText('Another Ferry is running').waitFor();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('Drop files anywhere').waitFor();
  });
});

describe('many', () => {
  test('100,000 rows: few in the page, scrolled to the end, searched', async () => {
    const page = await open({ scenario: 'many' });
    await page.getByRole('button', { name: /^All 100,000/ }).waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(50);
    await page.getByRole('grid').focus();
    await page.keyboard.press('End');
    await page.waitForFunction(() => document.querySelector('[role=row][aria-rowindex="100000"]') !== null);
    expect(await page.getByRole('row').count()).toBeLessThan(50);
    await page.getByLabel('Search transfers').fill('clip 050000');
    await page.waitForFunction(() => document.querySelectorAll('[role=row]').length === 1);
  });

  test('shows rows in every frame while it scrolls and changes come', async () => {
    const page = await open({ scenario: 'many' });
    await page.getByRole('button', { name: /^All 100,000/ }).waitFor();
    const empty = await page.evaluate(async () => {
      const grid = document.querySelector('[role=grid]');
      if (!grid) return 'no list';
      const { left, top, width, height } = grid.getBoundingClientRect();
      const wrong: number[] = [];
      for (let frame = 0; frame < 60; frame += 1) {
        grid.scrollTop += 400;
        if (frame % 12 === 0) window.fake.step();
        await new Promise(requestAnimationFrame);
        const middle = document.elementFromPoint(left + width / 2, top + height / 2);
        if (!middle?.closest('[role=row]')) wrong.push(frame);
      }
      return wrong;
    });
    expect(empty).toEqual([]);
  });
});
