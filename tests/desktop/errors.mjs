/**
 * Every error code in the real window, and its way out taken: node tests/desktop/errors.mjs [--keep]
 *
 * Each comes from a real cause: a fault of the sandbox, a folder without rights, a file that is gone. Its row is opened,
 * a picture taken, the button pressed that the row offers, and what the button promises has to happen. Pictures are in
 * target/errors; with --keep they replace those in docs/screenshots/errors.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';

import { run, sleep, until } from './display.mjs';
import { Service } from './service.mjs';
import { built, Stage, step } from './stage.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const KEPT = join(ROOT, 'docs/screenshots/errors');
const IS_ROOT = process.getuid?.() === 0;
const WORDS = JSON.parse(readFileSync(join(ROOT, 'ui/messages/en.json'), 'utf8'));
const SIZE = 6_000_000;
const KEY = 'a-key-of-the-tests';

const stage = new Stage('errors', { FERRY_STALL_SECONDS: '2' });
const folder = (name) => join(stage.folder, name);
const service = new Service(folder('server'));
await service.start();
const MAVI = service.mavi;
// The rights of a file mean nothing to root, who runs these tests on many a machine.
if (IS_ROOT) stage.wrapper = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
stage.cleanUp = () => {
  service.kill();
  if (existsSync(folder('small disk'))) execFileSync('umount', ['-l', folder('small disk')]);
};

let page;
/** Pictures by name. */
const taken = new Set();

async function picture(name) {
  await page.painted();
  const window = await stage.display.window('Ferry');
  await run('import', ['-window', window, join(stage.pictures, `${name}.png`)], { env: stage.environment });
  taken.add(name);
}

const named = async (name) => (await stage.transfers()).findLast((one) => one.name === name);
const is = (name, state, seconds = 20) =>
  until(`${name} to be ${state}`, async () => (await named(name))?.state.is === state && named(name), seconds);
const bytes = (name) => until('some bytes', async () => (await named(name))?.bytes > 1_000_000);

async function save(changes) {
  // An address is asked about.
  const { refused } = await stage.invokeByHand('save_settings', {
    changes: { ...(await stage.settings()), ...changes },
  });
  assert.equal(refused, undefined, JSON.stringify(refused));
}

async function download(what, from = 'link') {
  await stage.download({ what, service: from, folder: null, name: null });
}

/** A file of its own, as it would be sent. */
function file(name, size = 40_000) {
  mkdirSync(folder('Footage'), { recursive: true });
  const path = join(folder('Footage'), name);
  writeFileSync(path, randomBytes(size));
  return path;
}

async function drop(path) {
  const place = await stage.display.place(await stage.display.window('Ferry'));
  await stage.display.drop([path], { x: place.x + Math.round(place.width * 0.4), y: place.y + 340 });
}

/** Drops a file and pauses it in the middle. */
async function held(path) {
  await save({ limit_up: 500_000 });
  await drop(path);
  const { id } = await until('the row', () => named(basename(path)));
  await page.invoke('pause', { ids: [id] });
  await is(basename(path), 'paused');
  await save({ limit_up: null });
}

/** Lets a paused one go on. */
const go = async (name) => page.invoke('resume', { ids: [(await named(name)).id] });

/** Chooses in a dialog of the system. */
async function choose(title, path) {
  const dialog = await stage.display.window(title);
  await stage.display.press(dialog, 'ctrl+l');
  await sleep(500);
  await stage.display.type(path);
  // The first may only take what the field completes.
  for (let times = 0; times < 3 && (await stage.display.hasWindow(title)); times += 1) {
    await stage.display.press(dialog, 'Return');
    await sleep(300);
  }
}

/** The one row with its details open, and in words and in a picture what is wrong. */
async function opened(name, picturedAs) {
  const row = await page.find('[role=row][data-id]', name);
  await page.evaluate('arguments[0].dispatchEvent(new MouseEvent("dblclick", { bubbles: true }))', row);
  await page.find('dl', 'Added');
  console.log(`    ${(await page.evaluate('return arguments[0].innerText', row)).replace(/\s*\n\s*/g, ' | ')}`);
  await picture(picturedAs);
}

/** Fails as it should, is shown, and the button that goes with it is pressed, usually that of the engine's own remedy. */
async function fails(name, code, remedy, button = remedy) {
  const failed = await until(`${name} to fail`, async () => {
    const one = await named(name);
    return one?.state.is === 'failed' && one;
  });
  assert.deepEqual([failed.state.code, failed.state.remedy], [code, remedy], JSON.stringify(failed.state));
  // The page is told a moment later.
  await page.find('[role=row].failed', name);
  await opened(name, `${code}-${button}`);
  await page.click('.ways button', WORDS[`remedy_${button}`]);
}

/** Nothing stays behind for the next. */
async function clear() {
  await service.heal();
  const ids = (await stage.transfers()).map((one) => one.id);
  await page.invoke('cancel', { ids });
  await until('nothing to run', async () => (await stage.transfers()).every((one) => one.state.is !== 'running'));
  await page.invoke('remove', { ids });
  await until('an empty list', async () => (await stage.transfers()).length === 0);
  await page.click('nav button', 'Transfers');
  // The oldest message goes when the next comes: none is to be seen in the next picture.
  await page.evaluate('for (const one of document.querySelectorAll(".toast button:last-child")) one.click()');
}

async function stop() {
  process.kill(page.pid, 'SIGTERM');
  await page.ended();
}

async function start() {
  page = await stage.open();
  await giveKey();
}

/** There is no keychain on the display of the tests: a key is kept for as long as the program runs, for one address. */
const giveKey = () => page.invoke('set_key', { service: 'mavi', key: KEY });

/** Settings that only the person at the dialog may change: written between two runs of the program. */
function settingsOnDisk(changes) {
  const path = join(stage.environment.FERRY_DATA_DIR, 'settings.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes }));
}

/** `ferry` on the same data folder, while the window is closed. */
async function terminal(...args) {
  const ferry = spawn(built('ferry'), args, { env: stage.environment, stdio: ['pipe', 'ignore', 'ignore'] });
  ferry.stdin.end();
  await new Promise((done) => ferry.once('exit', done));
}

const cases = {
  'unauthorized: a new key lets it go on': async () => {
    await service.fault({ fault: 'key_revoked' });
    await drop(file('interview.mp4'));
    await fails('interview.mp4', 'unauthorized', 'enter_key');
    await service.heal();
    await until('the field for the key', () => page.evaluate('return document.activeElement?.type === "password"'));
    await stage.display.xdo('windowactivate', '--sync', await stage.display.window('Ferry'));
    await stage.display.type('a-better-key');
    await stage.display.xdo('key', 'Return');
    await page.find('.toast', 'key');
    await page.click('nav button', 'Transfers');
    await is('interview.mp4', 'completed');
  },

  'rate_limited: it waits as long as it was asked to, and goes on by itself': async () => {
    await service.fault({ fault: 'rate_limit', spelling: 'http', retry_after: '6', times: 1 });
    await drop(file('b-roll.mp4'));
    await until('a wait', async () => (await named('b-roll.mp4'))?.wait?.reason === 'rate_limit');
    await opened('b-roll.mp4', 'rate_limited-waits');
    await is('b-roll.mp4', 'completed');
  },

  'not_found: nothing to do but remove it': async () => {
    await download('re_00000000', 'mavi');
    await fails('re_00000000', 'not_found', 'remove');
    await until('no row', async () => (await stage.rows()).length === 0);
    await page.click('.toast button', 'Undo');
    await until('the row again', async () => (await stage.rows()).length === 1);
  },

  'not_ready: it is asked for again, and comes by itself': async () => {
    const detail = 'Descarga no disponible o no completada';
    await service.fault({ fault: 'status', status: 404, retry_after: '6', body: JSON.stringify({ detail }), path: '/file', times: 1 });
    await download('https://videos.example.org/watch/keynote', 'offline-tube');
    const { name } = await until('a wait', async () => {
      const [row] = await stage.transfers();
      return row?.wait?.reason === 'retry' && row;
    });
    await opened(name, 'not_ready-waits');
    await until('the file', async () => (await stage.transfers())[0].state.is === 'completed');
  },

  'quota_exceeded: one question, and all go on': async () => {
    await service.fault({ fault: 'balance_used_up', spelling: 'http', path: '/upload/signed-url' });
    await drop(file('take 1.mp4'));
    await is('take 1.mp4', 'failed');
    await drop(file('take 2.mp4'));
    await until('a wait', async () => (await named('take 2.mp4'))?.wait?.reason === 'quota');
    await service.heal();
    await fails('take 1.mp4', 'quota_exceeded', 'retry');
    await is('take 1.mp4', 'completed');
    await is('take 2.mp4', 'completed');
  },

  'service_error: the server’s trouble passes': async () => {
    await service.fault({ fault: 'status', status: 503, path: '/generate/' });
    await download(service.link(SIZE, 'trailer.mp4'));
    await is('trailer.mp4', 'failed');
    await service.heal();
    await fails('trailer.mp4', 'service_error', 'retry');
    await is('trailer.mp4', 'completed');
  },

  'bad_response: no answer of this service': async () => {
    const body = '<!doctype html><title>Welcome</title><h1>Sign in to this network</h1>';
    await service.fault({ fault: 'status', status: 200, body, content_type: 'text/html', path: '/mavi' });
    await drop(file('lecture.mp4'));
    await fails('lecture.mp4', 'bad_response', 'check_service');
    await page.find('h1', 'Services');
    await page.find('h2', 'MAVI');
  },

  'bad_response: a page instead of a file': async () => {
    await service.fault({ fault: 'login_page' });
    await download(service.link(SIZE, 'rushes.mp4'));
    await is('rushes.mp4', 'failed');
    await service.heal();
    await fails('rushes.mp4', 'bad_response', 'check_service', 'retry');
    await is('rushes.mp4', 'completed');
  },

  'incomplete: it goes on where it stood': async () => {
    await service.fault({ fault: 'cut', after: 2_000_000 });
    await download(service.link(SIZE, 'panel.mp4'));
    await is('panel.mp4', 'failed');
    await service.heal();
    await fails('panel.mp4', 'incomplete', 'retry');
    await is('panel.mp4', 'completed');
    const last = (await service.requests()).findLast((one) => one.path.endsWith('panel.mp4'));
    assert.match(last.range ?? '', /^bytes=[1-9]/, 'it began anew');
  },

  'integrity_mismatch of a download: it starts over': async () => {
    await service.fault({ fault: 'wrong_hash' });
    await download(service.link(SIZE, 'archive.zip'));
    await is('archive.zip', 'failed');
    assert.ok(!existsSync(join(stage.downloads, 'archive.zip')), 'saved all the same');
    await service.heal();
    await fails('archive.zip', 'integrity_mismatch', 'start_over');
    await is('archive.zip', 'completed');
  },

  'integrity_mismatch of an upload: the wrong asset is deleted and the file sent again': async () => {
    await service.fault({ fault: 'metadata_size', by: -5 });
    await drop(file('concert.mov'));
    const { asset_id } = await is('concert.mov', 'failed');
    await service.heal();
    await fails('concert.mov', 'integrity_mismatch', 'delete_asset');
    const [question] = await until('the question', async () => {
      const open = await stage.display.dialogs();
      return open.length > 0 && open;
    });
    await stage.display.answer(question, true);
    const again = await is('concert.mov', 'completed');
    assert.notEqual(again.asset_id, asset_id);
    const deleted = (await service.requests()).some((one) => one.method === 'DELETE' && one.path.endsWith(asset_id));
    assert.ok(deleted, 'it was not deleted');
  },

  'changed_at_source: it starts over when the source stands still': async () => {
    // The line breaks each time, and each time the file is another one. Once is nothing: Ferry starts over by itself.
    await save({ retries: 5, connections: 1 });
    await service.fault({ fault: 'cut', after: 2_000_000 });
    for (let revision = 1; revision <= 20; revision += 1) await service.fault({ fault: 'changed', revision, times: 1 });
    await download(service.link(SIZE, 'edit v2.mp4'));
    await is('edit v2.mp4', 'failed', 40);
    await service.heal();
    await save({ retries: 0, connections: 8 });
    await fails('edit v2.mp4', 'changed_at_source', 'start_over');
    await is('edit v2.mp4', 'completed');
  },

  'expired_url that Ferry can ask for: it asks again': async () => {
    await service.fault({ fault: 'expired_urls' });
    await drop(file('master.mov'));
    await is('master.mov', 'failed');
    await service.heal();
    await fails('master.mov', 'expired_url', 'sign_again');
    await is('master.mov', 'completed');
  },

  'expired_url of a link: only its owner has a new one': async () => {
    const body = '<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>';
    await service.fault({ fault: 'status', status: 403, body, content_type: 'application/xml', path: '/generate' });
    await download(service.link(SIZE, 'shared.mp4'));
    await fails('shared.mp4', 'expired_url', 'new_link');
    await until('the add bar', () =>
      page.evaluate('return document.activeElement === document.querySelector(".add input")'),
    );
  },

  'permission_denied at the target: another folder': async () => {
    await stop();
    mkdirSync(folder('Backup'));
    chmodSync(folder('Backup'), 0o555);
    settingsOnDisk({ downloads_folder: folder('Backup') });
    await start();
    await download(service.link(SIZE, 'day 1.mp4'));
    await fails('day 1.mp4', 'permission_denied', 'choose_folder');
    mkdirSync(folder('Elsewhere'));
    await choose('Save to', folder('Elsewhere'));
    await is('day 1.mp4', 'completed');
    assert.ok(existsSync(join(folder('Elsewhere'), 'day 1.mp4')));
  },

  'path_too_long: another folder': async () => {
    await clear();
    await stop();
    // Names of files are shortened to what fits. What a folder is called is its owner's to say.
    settingsOnDisk({ downloads_folder: folder('Everything from the second week '.repeat(9).trim()) });
    await start();
    await download(service.link(SIZE, 'a film with a name of ordinary length.mp4'));
    await fails('a film with a name of ordinary length.mp4', 'path_too_long', 'choose_folder');
    await choose('Save to', folder('Elsewhere'));
    await is('a film with a name of ordinary length.mp4', 'completed');
    await clear();
    await stop();
    settingsOnDisk({ downloads_folder: null });
    await start();
  },

  'file_too_large: another folder': async () => {
    execFileSync('prlimit', ['--pid', String(page.pid), `--fsize=${SIZE / 2}:`]);
    await download(service.link(SIZE, 'raw.mov'));
    await is('raw.mov', 'failed');
    execFileSync('prlimit', ['--pid', String(page.pid), '--fsize=unlimited:']);
    await fails('raw.mov', 'file_too_large', 'choose_folder');
    await choose('Save to', folder('Elsewhere'));
    await is('raw.mov', 'completed');
    assert.ok(existsSync(join(folder('Elsewhere'), 'raw.mov')));
  },

  'permission_denied at the source: the file, once it can be read': async () => {
    const path = file('locked.mp4', SIZE);
    await held(path);
    chmodSync(path, 0);
    await go('locked.mp4');
    await is('locked.mp4', 'failed');
    chmodSync(path, 0o644);
    await fails('locked.mp4', 'permission_denied', 'choose_file');
    await choose('Upload files', path);
    await is('locked.mp4', 'completed');
    await until('one row', async () => (await stage.transfers()).length === 1);
  },

  'source_missing: the file, where it is now': async () => {
    const path = file('moved.mp4', SIZE);
    await held(path);
    mkdirSync(folder('Elsewhere'), { recursive: true });
    renameSync(path, join(folder('Elsewhere'), 'moved.mp4'));
    await go('moved.mp4');
    await fails('moved.mp4', 'source_missing', 'choose_file');
    await choose('Upload files', join(folder('Elsewhere'), 'moved.mp4'));
    await is('moved.mp4', 'completed');
    await until('one row', async () => (await stage.transfers()).length === 1);
  },

  'source_changed: it starts over once the file stands still': async () => {
    await save({ limit_up: 1_000_000 });
    const path = file('recording.mp4', SIZE);
    await drop(path);
    await until('some bytes', async () => (await named('recording.mp4'))?.stage === 'sending');
    appendFileSync(path, 'and a second more');
    await save({ limit_up: null });
    await fails('recording.mp4', 'source_changed', 'start_over');
    await is('recording.mp4', 'completed');
  },

  'network: it goes on when the service is there again': async () => {
    service.kill();
    await download(service.link(SIZE, 'night.mp4'));
    await is('night.mp4', 'failed');
    await service.start();
    await fails('night.mp4', 'network', 'retry');
    await is('night.mp4', 'completed');
  },

  'timed_out: it goes on where it stood': async () => {
    await service.fault({ fault: 'stall', after: 2_000_000 });
    await download(service.link(SIZE, 'sunset.mp4'));
    await is('sunset.mp4', 'failed');
    await service.heal();
    await fails('sunset.mp4', 'timed_out', 'retry');
    await is('sunset.mp4', 'completed');
  },

  'tls: an address that speaks no TLS': async () => {
    await save({ mavi_url: MAVI.replace('http:', 'https:') });
    await giveKey();
    await drop(file('secure.mp4'));
    await fails('secure.mp4', 'tls', 'check_service');
    await page.find('h1', 'Services');
    await save({ mavi_url: MAVI });
    await giveKey();
  },

  'insecure_redirect: a link that leads elsewhere': async () => {
    await service.fault({ fault: 'redirect', status: 302, location: 'ftp://files.example.org/b.mp4' });
    await download(service.link(SIZE, 'mirror.mp4'));
    await fails('mirror.mp4', 'insecure_redirect', 'new_link');
    await until('the add bar', () =>
      page.evaluate('return document.activeElement === document.querySelector(".add input")'),
    );
  },

  'canceled: it starts again whenever one likes': async () => {
    await save({ limit_down: 1_000_000 });
    await download(service.link(SIZE, 'later.mp4'));
    await until('it to run', async () => (await named('later.mp4'))?.state.is === 'running');
    await page.invoke('cancel', { ids: [(await named('later.mp4')).id] });
    await is('later.mp4', 'canceled');
    await save({ limit_down: null });
    await page.find('[role=row].canceled', 'later.mp4');
    await opened('later.mp4', 'canceled-retry');
    await page.click('[role=row] button', 'Try again');
    await is('later.mp4', 'completed');
  },

  'invalid_input: a link that nobody kept': async () => {
    await save({ limit_down: 1_000_000 });
    await download(`${service.link(SIZE, 'cleaned up.mp4')}?token=1`);
    await bytes('cleaned up.mp4');
    await page.invoke('pause', { ids: [(await named('cleaned up.mp4')).id] });
    await is('cleaned up.mp4', 'paused');
    await stop();
    // What an over-eager cleaner does.
    rmSync(join(stage.environment.FERRY_DATA_DIR, 'resume'), { recursive: true });
    await start();
    await save({ limit_down: null });
    await page.invoke('resume', { ids: [(await named('cleaned up.mp4')).id] });
    await fails('cleaned up.mp4', 'invalid_input', 'remove', 'new_link');
    await until('the add bar', () =>
      page.evaluate('return document.activeElement === document.querySelector(".add input")'),
    );
  },

  'internal: a report for the people who maintain Ferry': async () => {
    await stop();
    const sandbox = join(stage.environment.FERRY_DATA_DIR, 'sandbox');
    rmSync(sandbox, { recursive: true, force: true });
    writeFileSync(sandbox, 'this is no folder');
    await start();
    await download('VI100000000000000002', 'sandbox').catch(() => undefined);
    const [{ name }] = await until('the row', async () => {
      const all = await stage.transfers();
      return all[0]?.state.is === 'failed' && all;
    });
    await fails(name, 'internal', 'report');
    await page.find('.toast', 'copied');
    rmSync(sandbox);
  },

  'unsupported: a signed URL that wants more than Ferry knows': async () => {
    await clear();
    await stop();
    const url = `${service.links}/sink/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host%3Bx-amz-acl&X-Amz-Signature=0`;
    await terminal('upload', file('signed.mp4'), '--to', url);
    await start();
    await fails('signed.mp4', 'unsupported', 'check_service', 'remove');
    await until('no row', async () => (await stage.rows()).length === 0);
  },
};

const withRoot = {
  'disk_full: it says how much is missing, waits, and goes on by itself': async () => {
    await stop();
    const disk = folder('small disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=9m', 'tmpfs', disk]);
    writeFileSync(join(disk, 'ballast'), randomBytes(6_000_000));
    settingsOnDisk({ downloads_folder: disk });
    // In the terminal it comes to an end; the window that opens then has the row.
    await terminal('download', service.link(SIZE, 'big.mov'), '--dir', disk);
    await start();
    await is('big.mov', 'failed');
    await opened('big.mov', 'disk_full-free_space');
    await page.click('.ways button', WORDS.remedy_free_space);
    await until('it to wait', async () => (await named('big.mov')).wait?.reason === 'space');
    await picture('disk_full-waits');
    rmSync(join(disk, 'ballast'));
    await is('big.mov', 'completed');
    await clear();
    await stop();
    settingsOnDisk({ downloads_folder: null });
    await start();
  },
};

async function test() {
  await start();
  await page.click('button', 'Start with the sandbox');
  await page.find('nav button', 'Transfers');
  // What fails fails at once.
  await save({
    retries: 0,
    mavi_url: MAVI,
    offline_tube_url: service.tube,
    default_service: 'mavi',
    theme: 'light',
  });
  await giveKey();

  const wanted = process.argv.slice(2).filter((one) => !one.startsWith('--'));
  for (const [name, work] of Object.entries({ ...cases, ...(IS_ROOT && withRoot) })) {
    if (wanted.length > 0 && !wanted.some((one) => name.startsWith(one))) continue;
    await step(name, work);
    await clear();
  }
  if (!IS_ROOT) console.log('skipped: a small disk can be made by root on Linux only');

  await step('busy_data_dir: the other one has to end first', async () => {
    const second = stage.start({ DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent' });
    const dialog = await stage.display.window('Ferry is already at work');
    await sleep(500);
    await run('import', ['-window', dialog, join(stage.pictures, 'busy_data_dir-dialog.png')], {
      env: stage.environment,
    });
    taken.add('busy_data_dir-dialog');
    await stage.display.press(dialog, 'Return');
    assert.equal((await second.ended).code, 1);
  });

  if (process.argv.includes('--keep')) {
    mkdirSync(KEPT, { recursive: true });
    // Only when all were taken does one that is missing have no cause any more.
    if (IS_ROOT && wanted.length === 0) for (const old of readdirSync(KEPT)) rmSync(join(KEPT, old));
    for (const name of taken) copyFileSync(join(stage.pictures, `${name}.png`), join(KEPT, `${name}.png`));
  }
}

await stage.run(6, test);
