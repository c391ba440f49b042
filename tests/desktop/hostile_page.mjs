/**
 * A page gone bad, in the real window: node tests/desktop/hostile_page.mjs
 *
 * Whoever runs a script in the page has every command. Each is called here as such a script would call it, first with nobody
 * at the keyboard, then on the back of a press that was meant for something else. What the user has, knows and keeps at
 * services is the same afterwards, and what the desktop asks the page cannot answer.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createListener } from 'node:net';
import { join, resolve } from 'node:path';

import { sleep, until } from './display.mjs';
import { PROGRAM, Stage, step } from './stage.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
/** As long as a press counts, and a little more. */
const NOBODY_THERE = 31_000;

const stage = new Stage('hostile-page');
const opened = join(stage.folder, 'opened');
const programs = join(stage.folder, 'programs');
mkdirSync(programs);
// Whatever would open a file or an address writes down that it was asked.
for (const name of ['xdg-open', 'gio', 'gnome-open', 'kde-open', 'wslview', 'dbus-send']) {
  writeFileSync(join(programs, name), `#!/bin/sh\necho ${name} "$@" >> '${opened}'\n`, { mode: 0o755 });
}
stage.environment.PATH = `${programs}:${stage.environment.PATH}`;
const whatOpened = () => {
  try {
    return readFileSync(opened, 'utf8');
  } catch {
    return '';
  }
};

const folder = join(stage.folder, 'mine');
mkdirSync(folder);
const sent = join(folder, 'sent.txt');
writeFileSync(sent, 'sent once');
const secret = join(folder, 'secret.txt');
writeFileSync(secret, 'never granted');

const visits = [];
const server = createServer((request, response) => {
  visits.push(request.url);
  response.end('<html>some file');
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const inside = `http://127.0.0.1:${server.address().port}`;
// Who listens without speaking: a connection alone is heard.
let connections = 0;
const listener = createListener((socket) => {
  connections += 1;
  socket.on('error', () => undefined);
  socket.end();
});
await new Promise((done) => listener.listen(0, '127.0.0.1', done));
stage.cleanUp = () => {
  server.close();
  listener.close();
};

const look = { filter: 'all', search: '', order: 'queue', locale: 'en', midnight: 0, from: 0, count: 50, cursor: null };
const link = (what) => ({ request: { what, service: 'link', folder: null, name: null } });

/**
 * What becomes of each command with nobody at the keyboard. `refused`: it is not done. `harmless`: it is, and what it gives
 * is the page's own business, or can be taken back; docs/security.md says what it gains by it.
 */
const commands = (ids, asset) => ({
  open: ['harmless', { look, fresh: false }],
  look: ['harmless', { look }],
  rows: ['harmless', { ids }],
  which: ['harmless', { ids: null, can: 'pause' }],
  between: ['harmless', { from: null, to: null }],
  hide: ['harmless', { ids: [] }],
  unhide: ['harmless', { ids: [] }],
  day: ['harmless', { hours: [0] }],
  pick_files: ['refused', { folders: false }],
  summarise: ['refused', { paths: [secret] }],
  upload: ['refused', { request: { paths: [sent], service: 'sandbox', method: null, if_sent: 'send' } }],
  stop_comparing: ['harmless', {}],
  download: ['refused', link(`${inside}/download`)],
  recognise: ['harmless', { text: inside }],
  pause: ['harmless', { ids: [] }],
  resume: ['harmless', { ids: [] }],
  cancel: ['harmless', { ids: [] }],
  retry: ['harmless', { ids: [] }],
  remove: ['harmless', { ids: [] }],
  move_rows: ['harmless', { ids: [], to: 'front' }],
  move_behind: ['harmless', { ids: [], above: null }],
  take_back: ['harmless', { ids: [] }],
  timeline: ['harmless', { id: ids[0] }],
  pictures: ['harmless', { id: ids[0] }],
  show_in_folder: ['refused', { id: ids[0] }],
  open_file: ['refused', { id: ids[0] }],
  thumbnail: ['harmless', { id: ids[0] }],
  file_there: ['harmless', { id: ids[0] }],
  can_download_again: ['harmless', { id: ids[0] }],
  download_again: ['refused', { id: ids[0] }],
  assets: ['harmless', { search: '' }],
  asset_count: ['harmless', {}],
  asset_info: ['harmless', { assetId: asset, service: 'sandbox' }],
  asset_delete: ['refused', { assets: [{ asset_id: asset, service: 'sandbox' }] }],
  export_assets: ['refused', {}],
  import_assets: ['refused', {}],
  check: ['harmless', { service: 'sandbox' }],
  set_key: ['harmless', { service: 'mavi', key: 'of-the-page' }],
  remove_key: ['harmless', { service: 'mavi' }],
  save_settings: ['harmless', { changes: { downloads_folder: '/etc' } }],
  tray_there: ['harmless', {}],
  reset_settings: ['harmless', {}],
  export_settings: ['refused', {}],
  import_settings: ['refused', {}],
  link_offer: ['harmless', {}],
  answer_link: ['harmless', { shown: 're_1', service: 'link' }],
  // A menu would stand over everything until somebody closes it; its choice is the user's.
  open_menu: ['not called', {}],
  copy_text: ['harmless', { text: 'of the page' }],
  paste_text: ['refused', {}],
  set_menu_bar: ['refused', { menus: [] }],
  drag_out: ['not called', { ids: [] }],
  pick_downloads_folder: ['refused', {}],
  choose_folder_for: ['refused', { id: ids[0] }],
  diagnostics: ['harmless', {}],
});

async function test() {
  const page = await stage.open();
  await page.click('button', 'Start with the sandbox');
  await page.find('nav button', 'Transfers');
  const place = await stage.display.place(await stage.display.window('Ferry'));
  const centre = { x: place.x + Math.round(place.width * 0.6), y: place.y + Math.round(place.height * 0.5) };
  const done = async (name) =>
    until(name, async () => (await stage.transfers()).find((one) => one.name === name && one.state.is === 'completed'));

  let row, asset;
  await step('a user sends a file', async () => {
    await stage.display.drop([sent], centre);
    row = await done('sent.txt');
    asset = row.asset_id;
    await page.invoke('copy_text', { text: 'a password' });
    await sleep(NOBODY_THERE);
  });

  await step('with nobody at the keyboard no command reaches beyond the window', async () => {
    const { permissions } = JSON.parse(readFileSync(join(ROOT, 'src-tauri/capabilities/main.json'), 'utf8'));
    const granted = permissions.filter((one) => one.startsWith('allow-')).map((one) => one.slice(6).replaceAll('-', '_'));
    const all = commands([row.id], asset);
    assert.deepEqual(Object.keys(all).sort(), granted.sort(), 'each command that the page has is tried');
    // What is on the clipboard is the user's until the page overwrites it, which it may.
    for (const [command, [outcome, args]] of Object.entries(all)) {
      if (outcome === 'not called') continue;
      const answer = await page.invoke(command, args);
      if (outcome === 'refused') assert.ok(answer.refused, `${command} gave ${JSON.stringify(answer.ok)}`);
      assert.ok(!JSON.stringify(answer).includes('a password'), command);
    }
    assert.deepEqual(await stage.display.dialogs(), [], 'nobody was asked anything');
    assert.deepEqual([visits, whatOpened()], [[], '']);
    assert.deepEqual(readdirSync(stage.downloads), []);
    assert.notEqual((await stage.settings()).downloads_folder, '/etc');
    const there = await page.invoke('asset_info', { assetId: asset, service: 'sandbox' });
    assert.ok(there.ok, 'the asset is still at the service');
  });

  await step('with nobody at the keyboard no service gets another address, and none is asked there', async () => {
    const before = await stage.settings();
    for (const changes of [
      { mavi_url: `${inside}/v2` },
      { visual_search_url: `${inside}/v1` },
      { offline_tube_url: inside },
      { offline_tube_url: 'https://stolen-words.evil.example' },
      { remove_after: true },
      { start_at_login: true },
    ]) {
      const { refused } = await page.invoke('save_settings', { changes });
      assert.equal(refused?.code, 'permission_denied', JSON.stringify(changes));
    }
    assert.deepEqual(await stage.settings(), before);
    for (const service of ['visual-search', 'offline-tube', 'link']) {
      await page.invoke('asset_info', { assetId: 're_1', service });
      await page.invoke('check', { service });
    }
    const words = { what: 'https://video.example/?words', service: 'offline-tube', remove_after: true };
    assert.ok((await page.invoke('download', { request: words })).refused);
    assert.deepEqual([visits, await stage.display.dialogs()], [[], []]);
  });

  await step('what the page draws has no network', async () => {
    const { port } = listener.address();
    await page.evaluate(
      `const [place] = arguments;
      for (const rel of ['preconnect', 'dns-prefetch', 'prefetch', 'preload', 'modulepreload', 'icon', 'stylesheet']) {
        for (const href of [place, place.replace('127.0.0.1', 'localhost'), place.replace('http', 'https')]) {
          const link = document.createElement('link');
          Object.assign(link, { rel, href, as: 'image' });
          document.head.append(link);
        }
      }
      fetch(place).catch(() => undefined);
      new Image().src = place;
      navigator.sendBeacon?.(place);
      const form = document.createElement('form');
      form.action = place;
      document.body.append(form);
      form.submit();
      form.remove();`,
      `http://127.0.0.1:${port}/`,
    );
    await sleep(4000);
    assert.equal(connections, 0, 'nobody was connected to');
  });

  /** Begins a command, and gives the question that the desktop asks. */
  const asks = async (command, args) => {
    let answer;
    const answered = page.invoke(command, args).then((it) => (answer = it));
    const dialog = await until(`a question of ${command}`, async () => {
      assert.equal(answer, undefined, JSON.stringify(answer));
      return (await stage.display.dialogs())[0];
    });
    const title = await stage.display.xdo('getwindowname', dialog);
    return { title, dialog, answered };
  };

  await step('one press is one look at the clipboard', async () => {
    await page.invoke('copy_text', { text: 'a password' });
    await stage.display.pressAnything();
    assert.deepEqual(await page.invoke('paste_text'), { ok: 'a password' });
    const { refused } = await page.invoke('paste_text');
    assert.equal(refused?.code, 'permission_denied');
    // Events of the page's own making are none.
    await page.evaluate(`
      for (const type of ['keydown', 'keyup']) document.dispatchEvent(new KeyboardEvent(type, { key: 'v' }));
      document.body.click();`);
    assert.equal((await page.invoke('paste_text')).refused?.code, 'permission_denied');
  });

  await step('a place inside the own network is asked about by the desktop', async () => {
    await stage.display.pressAnything();
    const no = await asks('download', link(`${inside}/page.html?stolen=1`));
    assert.match(no.title, /^Fetch from 127\.0\.0\.1:\d+\?$/);
    await stage.picture('inside');
    // While one question is open there is no other, and no way around it.
    const { refused } = await page.invoke('download', link('http://192.168.0.1/'));
    assert.equal(refused?.code, 'permission_denied');
    // What is pressed before anybody could have read it is no yes.
    await stage.display.xdo('windowactivate', '--sync', no.dialog, 'key', 'Return');
    assert.equal((await no.answered).refused?.code, 'permission_denied');
    assert.deepEqual(visits, []);
    await stage.display.pressAnything();
    const yes = await asks('download', link(`${inside}/page.html`));
    await stage.display.answer(yes.dialog, true);
    assert.ok((await yes.answered).ok);
    await done('page.html');
  });

  await step('what the engine would contact is asked about, not what the text looks like', async () => {
    const { port } = server.address();
    for (const [what, place] of [
      [`a.localhost:${port}/x`, `a.localhost:${port}`],
      ['nas.local/x', 'nas.local:443'],
    ]) {
      await stage.display.pressAnything();
      const { title, dialog, answered } = await asks('download', link(what));
      assert.equal(title, `Fetch from ${place}?`);
      await stage.display.answer(dialog, false);
      assert.equal((await answered).refused?.code, 'permission_denied');
    }
  });

  await step('a service gets another address from the user alone', async () => {
    const changes = { offline_tube_url: `${inside}/tube` };
    const before = visits.length;
    await stage.display.pressAnything();
    const no = await asks('save_settings', { changes });
    assert.ok(no.title.includes(inside), no.title);
    await stage.picture('address');
    await stage.display.answer(no.dialog, false);
    assert.equal((await no.answered).refused?.code, 'permission_denied');
    assert.equal((await stage.settings()).offline_tube_url, '');
    assert.equal(visits.length, before);
    await stage.display.pressAnything();
    const yes = await asks('save_settings', { changes });
    await stage.display.answer(yes.dialog, true);
    assert.ok((await yes.answered).ok);
    await page.invoke('check', { service: 'offline-tube' });
    assert.ok(visits.length > before, 'the user’s own choice counts');
    // Back to none: that entrusts nothing to anybody.
    assert.ok((await page.invoke('save_settings', { changes: { offline_tube_url: '' } })).ok);
  });

  await step('with real rows it disturbs the list and reaches no file and no service', async () => {
    const other = join(folder, 'other.txt');
    writeFileSync(other, 'sent once, too');
    await stage.display.drop([other], centre);
    const { id, asset_id } = await done('other.txt');
    await sleep(NOBODY_THERE);
    const before = visits.length;
    const ids = [id];
    for (const [command, args] of [
      ['pause', { ids }],
      ['resume', { ids }],
      ['cancel', { ids }],
      ['retry', { ids }],
      ['move_rows', { ids, to: 'front' }],
      ['move_behind', { ids, above: null }],
      ['hide', { ids }],
      ['unhide', { ids }],
      ['take_back', { ids }],
      ['remove', { ids }],
    ]) {
      await page.invoke(command, args);
    }
    await sleep(1000);
    assert.equal(readFileSync(other, 'utf8'), 'sent once, too');
    assert.ok((await page.invoke('asset_info', { assetId: asset_id, service: 'sandbox' })).ok);
    const { ok: assets } = await page.invoke('assets', { search: 'other.txt' });
    assert.equal(assets.length, 1, 'it was not sent again');
    assert.deepEqual([visits.length, await stage.display.dialogs()], [before, []]);
  });

  await step('what was sent is not sent again, and nothing else is', async () => {
    await stage.display.pressAnything();
    for (const path of [sent, secret, folder, `${sent}/../secret.txt`]) {
      const request = { paths: [path], service: 'sandbox', method: null, if_sent: 'send' };
      assert.ok((await page.invoke('upload', { request })).refused, path);
    }
  });

  await step('a deletion at a service is the user’s to confirm', async () => {
    await stage.display.pressAnything();
    const { title, dialog, answered } = await asks('asset_delete', {
      assets: [{ asset_id: asset, service: 'sandbox' }],
    });
    assert.match(title, /^Delete “sent\.txt” at /);
    await stage.picture('delete');
    await stage.display.answer(dialog, false);
    assert.deepEqual(await answered, { ok: { gone: [], failure: null } });
    assert.ok((await page.invoke('asset_info', { assetId: asset, service: 'sandbox' })).ok);
  });

  await step('what is not known to be harmless is asked about, and only what is opens', async () => {
    const html = (await stage.transfers()).find((one) => one.name === 'page.html');
    await stage.display.pressAnything();
    const no = await asks('open_file', { id: html.id });
    assert.equal(no.title, 'Open “page.html”?');
    await stage.display.answer(no.dialog, false);
    await no.answered;
    assert.equal(whatOpened(), '');
    await page.invoke('open_file', { id: row.id });
    await until('the text to open', () => whatOpened().includes('sent.txt'));
    assert.ok(!whatOpened().includes('page.html'));
  });

  await step('a link from outside is answered by nobody but the user', async () => {
    const count = (await stage.transfers()).length;
    const open = () =>
      spawn(PROGRAM, [`ferry://download?what=${encodeURIComponent(`${inside}/from-outside.html`)}`], {
        env: stage.environment,
        stdio: 'ignore',
      });
    const shown = `${inside}/from-outside.html`;
    const answers = async () => {
      open();
      await until('the link', async () => (await page.invoke('link_offer')).ok?.shown === shown);
      return asks('answer_link', { shown, service: 'link' });
    };
    const no = await answers();
    assert.equal(no.title, 'Download this?');
    await stage.display.answer(no.dialog, false);
    assert.deepEqual(await no.answered, { ok: null });
    assert.equal((await stage.transfers()).length, count);
    assert.ok(!visits.some((path) => path.includes('from-outside')));
    const yes = await answers();
    await stage.display.answer(yes.dialog, true);
    assert.ok((await yes.answered).ok);
    await done('from-outside.html');
  });

  await step('the window goes nowhere else', async () => {
    const before = visits.length;
    const { port } = server.address();
    for (const address of [`http://tauri.localhost:${port}/x`, `http://localhost:${port}/x`, `${inside}/x`]) {
      await page.evaluate('location.href = arguments[0]', address).catch(() => undefined);
      await sleep(400);
    }
    assert.equal(visits.length, before);
    assert.match(await page.evaluate('return location.href'), /^tauri:\/\/localhost/);
  });
}

await stage.run(4, test);
