/**
 * Bad days, watched in the real window on the real engine: node tests/desktop/bad_days.mjs
 *
 * The network falls silent, the service goes away and comes back, the disk fills up, the program is killed, a part file
 * is edited, a key is revoked in the middle of a queue, a link expires. Pictures of what the window says then are in
 * target/bad-days. The part with the full disk needs root on Linux, as it mounts a small disk.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { sleep, until } from './display.mjs';
import { Service } from './service.mjs';
import { Stage, step } from './stage.mjs';

const SLOW = { fault: 'slow', bytes_per_second: 2_000_000 };
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

const stage = new Stage('bad-days', { FERRY_STALL_SECONDS: '3', FERRY_MAVI_KEY: '' });
const folder = (name) => join(stage.folder, name);
const service = new Service(folder('server'));
await service.start();
stage.environment.FERRY_MAVI_URL = service.mavi;
stage.cleanUp = () => {
  service.kill();
  if (existsSync(folder('disk'))) execFileSync('umount', ['-l', folder('disk')]);
};

/** Where the last request for a file began. */
const askedFrom = async (name) => {
  const asked = (await service.requests()).filter((one) => one.path.endsWith(name)).at(-1);
  return Number(/^bytes=(\d+)-/.exec(asked.range ?? '')?.[1] ?? 0);
};

let page;

async function download(what, changes = {}) {
  const request = { what, service: 'link', folder: null, name: null, ...changes };
  await stage.download(request);
}

const named = async (name) => (await stage.transfers()).find((one) => one.name === name);
const is = (name, state, seconds = 30) =>
  until(`${name} to be ${state}`, async () => (await named(name))?.state.is === state, seconds);
/** The words of the row of a name, once they match. */
const says = (name, words, seconds = 30) =>
  until(
    `the row of ${name} to say ${words}`,
    async () => (await stage.rows()).find((row) => row.includes(name) && words.test(row)),
    seconds,
  );
const save = async (changes) => {
  const settings = await stage.settings();
  const { refused } = await page.invoke('save_settings', { changes: { ...settings, ...changes } });
  assert.equal(refused, undefined, JSON.stringify(refused));
};

async function test() {
  page = await stage.open();
  await page.click('button', 'Start with the sandbox');
  await page.find('nav button', 'Transfers');

  await step('the network falls silent: it waits, and goes on where it stood', async () => {
    // One connection, kept slow by the service: what waits in the system's buffers would arrive all the same.
    await save({ connections: 1 });
    await service.fault(SLOW);
    await download(service.link(9_000_000, 'silent.bin'));
    await until('some bytes', async () => (await named('silent.bin'))?.bytes > 1_000_000);
    service.kill('SIGSTOP');
    console.log(await says('silent.bin', /Nothing moved.*again/s));
    await stage.picture('silent');
    service.kill('SIGCONT');
    await is('silent.bin', 'completed', 60);
    assert.ok((await askedFrom('silent.bin')) > 1_000_000, 'it began anew');
  });

  await step('the service goes away and comes back', async () => {
    await download(service.link(9_000_000, 'gone.bin'));
    await until('some bytes', async () => (await named('gone.bin'))?.bytes > 1_000_000);
    service.kill();
    console.log(await says('gone.bin', /(broke|reached).*again/s));
    await stage.picture('gone');
    await sleep(500);
    await service.start();
    await service.fault(SLOW);
    await is('gone.bin', 'completed', 60);
    assert.ok((await askedFrom('gone.bin')) > 1_000_000, 'it began anew');
  });

  await step('the program is killed: the next start says what it picked up', async () => {
    await download(service.link(9_000_000, 'killed.bin'));
    await until('some bytes', async () => (await named('killed.bin'))?.bytes > 1_000_000);
    process.kill(page.pid, 'SIGKILL');
    await page.ended();
    page = await stage.open();
    await page.find('body', 'Picked up 1 transfer');
    await stage.picture('picked-up');
    await is('killed.bin', 'completed');
  });

  await step('a part file that was edited is found out, told, and kept aside', async () => {
    await download(service.link(9_000_000, 'edited.bin'));
    await until('some bytes', async () => (await named('edited.bin'))?.bytes > 4_000_000);
    await page.invoke('pause', { ids: [(await named('edited.bin')).id] });
    await is('edited.bin', 'paused');
    const part = join(stage.downloads, 'edited.bin.ferrypart');
    const bytes = readFileSync(part);
    bytes[1000] ^= 1;
    writeFileSync(part, bytes);
    await page.invoke('resume', { ids: [(await named('edited.bin')).id] });
    console.log(await says('edited.bin', /changed by somebody else/));
    await stage.picture('edited');
    await is('edited.bin', 'completed');
    assert.equal(sha256(readFileSync(join(stage.downloads, 'edited.bin.old.ferrypart'))), sha256(bytes));
  });

  await step('a link expires: it is said, with the way out', async () => {
    await service.fault({
      fault: 'status',
      status: 403,
      body: '<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
      content_type: 'application/xml',
      path: '/generate/9000000/expired.bin',
    });
    await download(service.link(9_000_000, 'expired.bin'));
    await is('expired.bin', 'failed');
    console.log(await says('expired.bin', /expired/));
    await stage.picture('expired');
    await service.heal();
  });

  await step('a key is revoked in the middle of a queue: one question, and a new key lets all go on', async () => {
    await save({ concurrent_uploads: 1, limit_up: 1_000_000 });
    await page.invoke('set_key', { service: 'mavi', key: 'first' });
    mkdirSync(folder('queue'));
    const files = Array.from({ length: 8 }, (_, number) => join(folder('queue'), `clip ${number}.mp4`));
    // Short ones would run beside each other: some have to wait when the key goes.
    for (const file of files) writeFileSync(file, randomBytes(1_200_000));
    const place = await stage.display.place(await stage.display.window('Ferry'));
    await stage.display.drop(files, { x: place.x + Math.round(place.width * 0.6), y: place.y + 300 });
    await is('clip 1.mp4', 'completed');
    await service.fault({ fault: 'key_revoked' });
    await until('the service to stand still', async () =>
      (await stage.transfers()).some((one) => one.wait?.reason === 'key'),
    );
    await stage.picture('revoked');
    const failed = (await stage.transfers()).filter((one) => one.service === 'mavi' && one.state.is === 'failed');
    assert.ok(failed.length <= 2, `${failed.length} failures for one key`);
    await page.click('nav button', 'Services');
    await stage.picture('revoked-services');
    await service.heal();
    await page.invoke('set_key', { service: 'mavi', key: 'second' });
    await save({ limit_up: null });
    await page.click('nav button', 'Transfers');
    for (const number of files.keys()) await is(`clip ${number}.mp4`, 'completed');
    await stage.picture('went-on');
  });

  if (process.getuid?.() === 0 && process.platform === 'linux') {
    await step('the disk fills up: it says how much is missing, and goes on by itself', async () => {
      mkdirSync(folder('disk'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', folder('disk')]);
      writeFileSync(join(folder('disk'), 'ballast'), randomBytes(6_000_000));
      await page.invoke('pause', { ids: [] });
      // The folder comes from a dialog, as the page may name none by itself.
      await page.click('nav button', 'Settings');
      await page.click('button', 'Change…');
      const dialog = await stage.display.window('Downloads folder');
      await stage.display.press(dialog, 'ctrl+l');
      await sleep(500);
      await stage.display.type(folder('disk'));
      await stage.display.press(dialog, 'Return');
      await until('the setting', async () => (await stage.settings()).downloads_folder === folder('disk'));
      await page.click('nav button', 'Transfers');
      await download(service.link(9_000_000, 'roomy.bin'));
      console.log(await says('roomy.bin', /more is needed/));
      await stage.picture('full');
      rmSync(join(folder('disk'), 'ballast'));
      await is('roomy.bin', 'completed');
      assert.ok(existsSync(join(folder('disk'), 'roomy.bin')));
      await stage.picture('room');
    });
  } else {
    console.log('skipped: a small disk can be made by root on Linux only');
  }
}

await stage.run(5, test);
