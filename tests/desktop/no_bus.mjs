/**
 * A desktop that lacks parts, or whose parts hang: the session bus, another Ferry, notices, the keychain, the folders for a
 * session and for caches, alone and together: node tests/desktop/no_bus.mjs
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
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
  return said;
}

/** A bus that takes connections and all that is said to it, and says nothing. */
async function silentBus() {
  const path = join(stage.folder, 'silent');
  const connections = new Set();
  const server = createServer((socket) => {
    connections.add(socket.resume());
    socket.on('error', () => undefined);
  });
  await new Promise((done) => server.listen(path, done));
  const stop = () => {
    connections.forEach((socket) => socket.destroy());
    return new Promise((done) => server.close(done));
  };
  return { address: `unix:path=${path}`, stop };
}

/** A bus of its own, until `work` is done. */
async function withBus(work) {
  const bus = spawn('dbus-daemon', ['--session', '--nofork', '--print-address=1'], {
    env: stage.environment,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    const [address] = await new Promise((done) => bus.stdout.once('data', (text) => done(String(text).split('\n'))));
    return await work(address, bus);
  } finally {
    bus.kill();
  }
}

/** Nobody answers for these names on the bus, until `work` is done. */
async function whileHung(address, names, work) {
  const script = new URL('hung_services.py', import.meta.url).pathname;
  const hung = spawn('/usr/bin/python3', [script, ...names], {
    env: { ...stage.environment, DBUS_SESSION_BUS_ADDRESS: address },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise((done, fail) => {
      hung.stdout.once('data', done);
      hung.once('exit', () => fail(new Error('who hangs has ended')));
    });
    return await work();
  } finally {
    hung.kill('SIGKILL');
  }
}

/** What Ferry asks of the desktop by the bus, besides the tray. */
const ASKED = ['org.freedesktop.Notifications', 'org.freedesktop.secrets', 'org.freedesktop.ScreenSaver'];
/** A folder in which nobody can make anything, root neither. */
const CLOSED = '/proc';

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

  await step('with a bus that ends while Ferry runs', () =>
    withBus((address, bus) =>
      livesWith({ DBUS_SESSION_BUS_ADDRESS: address }, async () => {
        await sleep(A_WHILE);
        bus.kill();
        await sleep(A_WHILE);
      }),
    ),
  );

  await step('with a bus that takes connections and stays silent', async () => {
    const bus = await silentBus();
    const said = await livesWith({ DBUS_SESSION_BUS_ADDRESS: bus.address });
    await bus.stop();
    assert.match(said, /session bus.*does not answer/);
  });

  await step('with notices, keychain and screen saver that hang', () =>
    withBus((address) =>
      whileHung(address, ASKED, async () => {
        // Longer than the keychain is waited for.
        const said = await livesWith({ DBUS_SESSION_BUS_ADDRESS: address }, () => sleep(2 * A_WHILE));
        assert.match(said, /keychain does not answer/);
      }),
    ),
  );

  await step('beside a Ferry that hangs, which has the data', () =>
    withBus(async (address) => {
      const first = stage.start({ DBUS_SESSION_BUS_ADDRESS: address });
      await until('the window', shown, 30);
      first.program.kill('SIGSTOP');
      const second = stage.start({ DBUS_SESSION_BUS_ADDRESS: address });
      let said = '';
      second.program.stderr.on('data', (text) => (said += text));
      await until('the second one to say why', () => said.includes('busy_data_dir'), 20);
      second.program.kill();
      await second.ended;
      first.program.kill('SIGCONT');
      first.program.kill();
      assert.equal((await first.ended).code, 0);
    }),
  );

  await step('with folders for session and cache that take nothing', () =>
    withBus((address) =>
      livesWith({ DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: CLOSED, XDG_CACHE_HOME: CLOSED }),
    ),
  );

  await step('with all of that together', async () => {
    const bus = await silentBus();
    await livesWith({
      DBUS_SESSION_BUS_ADDRESS: bus.address,
      XDG_RUNTIME_DIR: CLOSED,
      XDG_CACHE_HOME: CLOSED,
      PATH: empty,
    });
    await bus.stop();
  });

  await step('closing ends Ferry whatever the settings say, as nothing could bring a hidden window back', async () => {
    const file = join(stage.environment.FERRY_DATA_DIR, 'settings.json');
    const settings = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    writeFileSync(file, JSON.stringify({ ...settings, close_to_tray: true, welcomed: true }));
    await livesWith({ DBUS_SESSION_BUS_ADDRESS: null, XDG_RUNTIME_DIR: null, PATH: empty });
  });
}

await stage.run(8, test);
