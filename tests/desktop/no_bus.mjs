/** A desktop without a session bus, or with one that is dead or dies: node tests/desktop/no_bus.mjs */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { sleep, until } from './display.mjs';
import { Stage, step } from './stage.mjs';

const stage = new Stage('desktop-no-bus');
const shown = () => stage.display.hasWindow('Ferry');
/** Longer than a start takes to come upon what is missing. */
const A_WHILE = 4000;

/** The window opens in this environment, stays, and ends in order when it is closed. */
async function livesWith(changes, meanwhile = () => sleep(A_WHILE)) {
  const { program, ended } = stage.start({ RUST_BACKTRACE: '1', ...changes });
  const early = ended.then((end) => {
    throw new Error(`it has ended: ${JSON.stringify(end)}`);
  });
  // What ends in order later is no error.
  early.catch(() => undefined);
  await Promise.race([until('the window', shown, 30), early]);
  await Promise.race([meanwhile(), early]);
  assert.ok(await shown(), 'the window is there');
  await stage.display.close(await stage.display.window('Ferry'));
  await until('the window to go', async () => !(await shown()));
  const { code, signal, said } = await ended;
  assert.deepEqual([code, signal], [0, null], said);
  assert.doesNotMatch(said, /panicked/);
  assert.equal(program.exitCode, 0);
}

async function test() {
  // Where there is a display, GLib starts a bus of its own by this program if it finds it.
  const empty = join(stage.folder, 'no-programs');
  mkdirSync(empty);

  await step('without a bus and without a folder for it', () =>
    livesWith({ DBUS_SESSION_BUS_ADDRESS: null, XDG_RUNTIME_DIR: null, PATH: empty }),
  );

  await step('with the address of a bus that is dead', () =>
    livesWith({ DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(stage.folder, 'dead')}` }),
  );

  await step('with an address that is none', () => livesWith({ DBUS_SESSION_BUS_ADDRESS: 'disabled:' }));

  await step('with a runtime folder that is no folder', async () => {
    const file = join(stage.folder, 'a-file');
    writeFileSync(file, '');
    await livesWith({ DBUS_SESSION_BUS_ADDRESS: null, XDG_RUNTIME_DIR: file, PATH: empty });
  });

  await step('with a bus that ends while Ferry runs', async () => {
    const bus = spawn('dbus-daemon', ['--session', '--nofork', '--print-address=1'], {
      env: stage.environment,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [address] = await new Promise((done) => bus.stdout.once('data', (text) => done(String(text).split('\n'))));
    await livesWith({ DBUS_SESSION_BUS_ADDRESS: address }, async () => {
      await sleep(A_WHILE);
      bus.kill();
      await sleep(A_WHILE);
    });
  });

  await step('closing ends Ferry whatever the settings say, as nothing could bring a hidden window back', async () => {
    const file = join(stage.environment.FERRY_DATA_DIR, 'settings.json');
    const settings = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    writeFileSync(file, JSON.stringify({ ...settings, close_to_tray: true, welcomed: true }));
    await livesWith({ DBUS_SESSION_BUS_ADDRESS: null, XDG_RUNTIME_DIR: null, PATH: empty });
  });
}

await stage.run(4, test);
