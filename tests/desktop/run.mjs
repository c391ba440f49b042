/**
 * The real window, used as a person uses it: node tests/desktop/run.mjs
 *
 * Needs the built program (cargo build -p ferry-desktop, or its path in FERRY_DESKTOP) with the built page in it.
 * Pictures of every step are in target/desktop-test.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { sleep, until } from './display.mjs';
import { PROGRAM, Stage, step } from './stage.mjs';
import { descendants } from './webdriver.mjs';

const NAME = 'Überfahrt nach Sète, 100% é #1.mp4';
/** A proof by content, not by length alone. */
const CHECKSUM = /^(crc32c|md5|sha256)$/;

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

const stage = new Stage('desktop-test');
const { folder, home } = stage;
const picture = (name) => stage.picture(name);
const rows = () => stage.rows();
const transfers = () => stage.transfers();

const film = randomBytes(3_000_000);
const source = join(folder, 'source', NAME);
mkdirSync(join(folder, 'source'));
writeFileSync(source, film);
const chosen = join(folder, 'source', 'chosen.txt');
writeFileSync(chosen, 'chosen by hand');
const secret = join(folder, 'secret.txt');
writeFileSync(secret, 'nobody granted this');

let page;

async function centre() {
  const place = await stage.display.place(await stage.display.window('Ferry'));
  return {
    x: place.x + Math.round(place.width * 0.6),
    y: place.y + Math.round(place.height * 0.5),
  };
}

async function refused(command, args, words) {
  const answer = await page.invoke(command, args);
  assert.ok(answer.refused, `${command} ${JSON.stringify(args)} was allowed: ${JSON.stringify(answer.ok)}`);
  assert.match(JSON.stringify(answer.refused), words, command);
}

async function test() {
  await step('without a display: one line and 1', async () => {
    const { code, said } = await stage.start({
      DISPLAY: null,
      WAYLAND_DISPLAY: null,
    }).ended;
    assert.equal(code, 1);
    assert.match(said, /^error: .*display.*\n$/);
  });

  await step('the first start', async () => {
    page = await stage.open();
    await page.find('button', 'Start with the sandbox');
    // Whatever the page itself does against its own policy is a fault; what the tests provoke comes later.
    await page.evaluate(`
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) =>
        window.violations.push(event.effectiveDirective + ' ' + event.blockedURI + ' ' + event.sourceFile));`);
    await picture('first-run');
    await page.click('button', 'Start with the sandbox');
    await page.find('nav button', 'Transfers');
    await picture('empty');
  });

  await step('a dropped file is sent and verified', async () => {
    await stage.display.drop([source], await centre(), async () => {
      await page.find('[role=status]', 'Upload 1 file');
      await page.find('[role=status]', '3.0 MB');
      await picture('drop');
    });
    await page.find('[role=row][data-id]', NAME);
    const row = await until('the verified badge', async () => (await rows()).find((text) => /Verified/.test(text)), 30);
    assert.ok(row.includes(NAME), row);
    await picture('sent');
    const [sent] = await transfers();
    assert.deepEqual([sent.kind, sent.state.is, sent.name, sent.bytes], ['upload', 'completed', NAME, film.length]);
    assert.match(sent.verified, CHECKSUM);
  });

  await step('a click in the library brings it back under its name', async () => {
    await page.click('nav button', 'Library');
    await page.find('[role=row]', NAME);
    await page.painted();
    await page.click('[role=row]', NAME);
    await picture('library');
    await page.click('button', 'Download again');
    const target = join(home, 'Downloads', NAME);
    await until('the file in Downloads', () => existsSync(target), 30);
    assert.equal(sha256(readFileSync(target)), sha256(film));
    assert.deepEqual(readdirSync(join(home, 'Downloads')), [NAME]);
    await page.click('nav button', 'Transfers');
    await until('two finished rows', async () => (await rows()).filter((text) => /Verified/.test(text)).length === 2);
    await picture('back');
  });

  await step('a file chosen in the dialog of the system is sent', async () => {
    await page.click('button', 'Upload');
    const dialog = await stage.display.window('Upload files');
    await picture('dialog');
    // The field for a path opens first; letters typed before that go astray.
    await stage.display.press(dialog, 'ctrl+l');
    await sleep(500);
    await stage.display.type(chosen);
    await stage.display.press(dialog, 'Return');
    await until(
      'the row',
      async () => (await rows()).some((text) => text.includes('chosen.txt') && /Verified/.test(text)),
      30,
    );
  });

  await step('a file is brought back, looked at and taken off the list by keyboard alone', async () => {
    const window = await stage.display.window('Ferry');
    const key = (name) => stage.display.press(window, name);
    const { asset_id } = (await transfers()).find((one) => one.name === 'chosen.txt');
    const target = join(home, 'Downloads', 'chosen.txt');
    await key('ctrl+1');
    await key('n');
    await until('the add bar', () =>
      page.evaluate('return document.activeElement === document.querySelector(".add input")'),
    );
    await stage.display.type(asset_id);
    await page.find('.answer button', 'Download');
    await key('Return');
    await until('the file', () => existsSync(target), 30);
    assert.equal(readFileSync(target, 'utf8'), 'chosen by hand');
    await key('Escape');
    await until('the list', () => page.evaluate('return document.activeElement?.getAttribute("role") === "grid"'));
    const { id } = await until('its row', async () =>
      (await transfers()).find((one) => one.asset_id === asset_id && one.kind === 'download' && one.path === target),
    );
    const cursor = () => page.evaluate('return document.activeElement?.getAttribute("aria-activedescendant")');
    await key('Home');
    for (let down = 0; down < 3 && (await cursor()) !== `transfer-${id}`; down += 1) await key('Down');
    assert.equal(await cursor(), `transfer-${id}`);
    await key('Return');
    await page.find('dl', 'Added');
    await key('Return');
    await key('Delete');
    await until('the row to go', () =>
      page.evaluate('return !document.getElementById(arguments[0])', `transfer-${id}`),
    );
    // For good at once, instead of when its undo has passed.
    await page.invoke('remove', { ids: [id] });
    rmSync(target);
  });

  await step('the menu of a row is the system’s, by pointer and by key', async () => {
    const window = await stage.display.window('Ferry');
    const place = await stage.display.place(window);
    const row = await page.find('[role=row][data-id]', 'chosen.txt');
    const box = await page.evaluate('const { x, y } = arguments[0].getBoundingClientRect(); return [x, y]', row);
    const at = [Math.round(place.x + box[0] + 150), Math.round(place.y + box[1] + 20)];
    const before = await stage.display.popUps();
    await stage.display.xdo('mousemove', ...at, 'sleep', 0.2, 'click', 3);
    await until('the menu', async () => (await stage.display.popUps()) > before);
    await picture('menu');
    // Show in folder, Open, Details, Copy name.
    await stage.display.xdo('key', '--delay', 100, 'Down', 'Down', 'Down', 'Down', 'Return');
    await page.find('.toast', 'Copied');
    await page.click('.add input', 'What to download');
    await stage.display.press(window, 'ctrl+v');
    await until('the name', () => page.evaluate('return document.querySelector(".add input").value === "chosen.txt"'));

    // The page itself may not read the clipboard: V on the list and the command ask the program.
    await page.evaluate('document.querySelector("[role=grid]").focus()');
    await page.invoke('copy_text', {
      text: `https://a.example/1\nhttps://b.example/2`,
    });
    await stage.display.press(window, 'v');
    await page.find('.add .answer', '2 links');
    await page.evaluate('document.querySelector("[role=grid]").focus()');
    await page.invoke('copy_text', { text: '' });
    await stage.display.press(window, 'v');
    await page.find('.toast', 'There is no text on the clipboard.');
    await page.click('button', 'Clear');
    await page.evaluate('document.querySelector("[role=grid]").focus()');

    await stage.display.press(window, 'shift+F10');
    await until('the menu by key', async () => (await stage.display.popUps()) > before);
    await picture('menu-by-key');
    await stage.display.xdo('key', 'Escape');
    await until('the menu to go', async () => (await stage.display.popUps()) === before);
  });

  await step('the page obeys its own policy', async () => {
    assert.deepEqual(await page.evaluate('return window.violations'), []);
  });

  await step('the page cannot reach for what nobody granted', async () => {
    const granted = { service: 'sandbox', method: null };
    await refused('upload', { request: { ...granted, paths: [secret] } }, /permission_denied/);
    await refused('upload', { request: { ...granted, paths: [source, '/etc/passwd'] } }, /permission_denied/);
    await refused('upload', { request: { ...granted, paths: [`${source}/../../secret.txt`] } }, /permission_denied/);
    await refused('upload', { request: { ...granted, paths: ['secret.txt'] } }, /permission_denied/);
    const to = 'http://127.0.0.1:9/?X-Goog-Signature=1';
    await refused('upload', { request: { ...granted, paths: [source], to } }, /permission_denied/);
    await refused('summarise', { paths: [secret] }, /permission_denied/);
    await refused('download', { request: { what: 're_x', service: 'sandbox', folder: folder } }, /permission_denied/);
    const before = (await stage.settings()).downloads_folder;
    const settings = await stage.settings();
    await page.invoke('save_settings', {
      changes: { ...settings, downloads_folder: '/etc' },
    });
    assert.equal((await stage.settings()).downloads_folder, before);
    assert.equal((await transfers()).length, 3);

    for (const [command, args] of [
      ['plugin:fs|read_text_file', { path: source }],
      ['plugin:fs|write_text_file', { path: join(folder, 'x'), contents: 'x' }],
      ['plugin:fs|exists', { path: source }],
      ['plugin:opener|open_path', { path: '/bin/sh' }],
      ['plugin:opener|open_url', { url: 'https://example.org' }],
      ['plugin:opener|reveal_item_in_dir', { path: '/etc' }],
      ['plugin:notification|notify', { options: { title: 'x' } }],
      ['plugin:window-state|save_window_state', { flags: 1 }],
      ['plugin:window|close', { label: 'main' }],
      ['plugin:webview|create_webview_window', { options: { label: 'x', url: 'https://example.org' } }],
      ['plugin:event|emit', { event: 'transfers-changed', payload: {} }],
    ]) {
      await refused(command, args, /not allowed|not found|denied/i);
    }
  });

  await step('the page runs and loads nothing from elsewhere', async () => {
    const visits = [];
    const server = createServer((request, response) => {
      visits.push(request.url);
      response.setHeader('access-control-allow-origin', '*');
      response.end('window.remote = 1');
    });
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    const remote = `http://127.0.0.1:${server.address().port}`;
    await page.evaluate(
      `const [remote] = arguments;
       const add = (name, set) => document.body.append(Object.assign(document.createElement(name), set));
       add('script', { textContent: 'window.inline = 1' });
       add('script', { src: remote + '/script.js' });
       add('img', { src: remote + '/image.png' });
       add('iframe', { src: remote + '/frame' });
       const host = document.createElement('div');
       host.innerHTML = '<img src="x:" onerror="window.handler = 1">';
       document.body.append(host);
       fetch(remote + '/fetch').catch(() => {});
       try { window.evaluated = new Function('return 1')(); } catch {}
       try { window.opened = window.open(remote + '/open') !== null; } catch {}
       setTimeout(() => { location.href = remote + '/elsewhere'; }, 100);`,
      remote,
    );
    await sleep(700);
    const seen = await page.evaluate(
      'return [window.inline, window.remote, window.handler, window.evaluated, window.opened].map((x) => x ?? null)',
    );
    server.close();
    assert.deepEqual(seen.slice(0, 4), [null, null, null, null]);
    assert.notEqual(seen[4], true);
    assert.deepEqual(visits, []);
    assert.match(await page.evaluate('return location.href'), /^tauri:\/\/localhost/);
    const violations = await page.evaluate('return window.violations');
    assert.ok(
      violations.some((text) => text.startsWith('script-src')),
      violations.join('\n'),
    );
    assert.ok(
      violations.some((text) => text.startsWith('connect-src')),
      violations.join('\n'),
    );
  });

  await step('a second start brings the first forward and ends', async () => {
    const { code } = await stage.start({}).ended;
    assert.equal(code, 0);
    assert.ok(page.isAlive);
  });

  await step('a link from outside asks, and what Ferry does not do is refused', async () => {
    const question = () => page.evaluate('return document.querySelector("[role=alertdialog]")?.innerText');
    const open = (link) => spawn(PROGRAM, [link], { env: stage.environment, stdio: 'ignore' });
    const before = (await transfers()).length;
    open('ferry://download?what=https%3A%2F%2Ffiles.example.org%2Fa.mp4%3FX-Signature%3Dsecret');
    const asked = await until('the question', question);
    assert.ok(asked.includes('https://files.example.org/a.mp4') && !asked.includes('secret'), asked);
    await picture('link');
    await page.click('button', 'Don’t download');
    await until('no question', async () => !(await question()));
    open('ferry://download?what=https%3A%2F%2Ffiles.example.org%2Fb.mp4');
    await until('the question', question);
    // What the page says is not enough: the desktop asks.
    await page.click('[role=alertdialog] button', 'Download');
    const confirmed = await stage.display.window('Download this?');
    await picture('link-confirmed');
    await stage.display.answer(confirmed, false);
    await until('no question', async () => !(await question()));
    open('ferry://upload?what=%2Fetc%2Fpasswd');
    assert.match(await until('the refusal', question), /Nothing was done/);
    await page.click('button', 'Close');
    await until('no refusal', async () => !(await question()));
    assert.equal((await transfers()).length, before);
  });

  await step('a finished file is dragged to another program', async () => {
    await page.click('nav button', 'Transfers');
    await page.painted();
    const id = (await transfers()).find((one) => one.state.is === 'completed' && one.kind === 'download').id;
    const row = await page.evaluate(
      'const box = document.querySelector(`[data-id="${arguments[0]}"]`).getBoundingClientRect(); return [box.x, box.y]',
      id,
    );
    const place = await stage.display.place(await stage.display.window('Ferry'));
    const from = {
      x: Math.round(place.x + row[0] + 150),
      y: Math.round(place.y + row[1] + 20),
    };
    const taken = await stage.display.dragOut(from, join(folder, 'taken.txt'));
    assert.deepEqual(taken.map(decodeURIComponent), [`file://${join(home, 'Downloads', NAME)}`]);
  });

  await step(
    'a data folder in use is said in a dialog, in the language of its settings, and the end is 1',
    async () => {
      const settings = await stage.settings();
      await page.invoke('save_settings', {
        changes: { ...settings, language: 'es' },
      });
      const second = stage.start({
        DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent',
      });
      const dialog = await stage.display.window('Ferry ya está en marcha');
      await picture('busy');
      await stage.display.press(dialog, 'Return');
      const { code, said } = await second.ended;
      assert.equal(code, 1);
      assert.match(said, /error\[busy_data_dir\]/);
      await page.invoke('save_settings', { changes: settings });
    },
  );

  await step('it speaks three languages, in both themes', async () => {
    const settings = await stage.settings();
    const titles = { en: 'Transfers', es: 'Transferencias', zh: '传输' };
    const choose = async (more) => {
      // Settings that another than the page changed reach it with the next opening.
      await stage.settings();
      await page.invoke('save_settings', {
        changes: { ...settings, ...more },
      });
    };
    for (const [language, title] of Object.entries(titles)) {
      for (const theme of ['light', 'dark']) {
        await choose({ language, theme });
        await until(`${language}, ${theme}`, () =>
          page.evaluate(
            `const [title, theme] = arguments;
             return document.querySelector('nav button').innerText.includes(title)
               && getComputedStyle(document.documentElement).colorScheme === theme;`,
            title,
            theme,
          ),
        );
        await picture(`${language}-${theme}`);
      }
    }
    await choose({});
    await until('the words of before', () =>
      page.evaluate(`return document.querySelector('nav button').innerText.includes('Transfers')`),
    );
  });

  const copy = 'Überfahrt nach Sète, 100% é #1 (1).mp4';
  const unfinished = async () => (await transfers()).find((one) => one.state.is !== 'completed');

  await step('quitting while a transfer runs is a question', async () => {
    const settings = await stage.settings();
    await page.invoke('save_settings', {
      changes: { ...settings, limit_down: 300_000 },
    });
    await page.click('nav button', 'Library');
    // What was sent last comes in above: a click before that would miss.
    await page.find('[role=row]', 'chosen.txt');
    await page.painted();
    await page.click('[role=row]', NAME);
    await page.painted();
    await page.click('button', 'Download again');
    await page.click('nav button', 'Transfers');
    await until('the transfer to run', async () => (await unfinished())?.bytes > 0);
    await picture('running');
    await stage.display.close(await stage.display.window('Ferry'));
    const question = await stage.display.window('Quit Ferry?');
    await picture('question');
    await stage.display.press(question, 'Escape');
    await until('the question to go', async () => !(await stage.display.hasWindow('Quit Ferry?')));
    await sleep(200);
    assert.ok(page.isAlive);
    assert.equal((await unfinished()).state.is, 'running');
  });

  let before;
  await step('a termination signal is heard within two seconds', async () => {
    // The next start opens in this size, and has to show its page in it.
    await stage.display.xdo('windowsize', '--sync', await stage.display.window('Ferry'), 900, 600);
    before = (await unfinished()).bytes;
    process.kill(page.pid, 'SIGTERM');
    const took = await page.ended();
    assert.ok(took < 2500, `${took} ms`);
    const there = readdirSync(join(home, 'Downloads'));
    assert.ok(there.some((name) => name.endsWith('.ferrypart')) && !there.includes(copy), there.join('\n'));
  });

  await step('the next start shows the list and goes on', async () => {
    page = await stage.open();
    await page.find('nav button', 'Transfers');
    await until('four rows', async () => (await rows()).length === 4);
    assert.ok((await page.text()).includes('Picked up 1 transfer'));
    assert.ok(((await unfinished())?.bytes ?? Infinity) > 0, 'it began anew');
    await picture('restarted');
    const settings = await stage.settings();
    assert.equal(settings.welcomed, true);
    await page.invoke('save_settings', {
      changes: { ...settings, limit_down: null },
    });
    await until('the rest', async () => (await unfinished()) === undefined, 30);
    await until('four finished rows', async () => (await rows()).filter((row) => /Verified/.test(row)).length === 4);
    assert.deepEqual(readdirSync(join(home, 'Downloads')).sort(), [copy, NAME].sort());
    assert.equal(sha256(readFileSync(join(home, 'Downloads', copy))), sha256(film));
    assert.ok((await transfers()).every((one) => CHECKSUM.test(one.verified)));
    assert.ok((await transfers()).find((one) => one.path.endsWith(copy)).bytes > before);
    await picture('finished');
  });

  await step('without work the window closes at once', async () => {
    await stage.display.close(await stage.display.window('Ferry'));
    await page.ended();
  });

  await step('a page whose process ends is loaded anew', async () => {
    const { program, ended } = stage.start();
    const drawer = () =>
      descendants(program.pid).find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('WebKitWeb'));
    const window = await stage.display.window('Ferry');
    const before = await until('the page', async () => {
      const { colours, mark } = await stage.display.look(window);
      return colours > 300 && mark;
    });
    const first = drawer();
    process.kill(first, 'SIGKILL');
    await until('another process', () => drawer() !== undefined && drawer() !== first);
    // A picture that was left behind would not follow.
    await until('the settings', async () => {
      await stage.display.press(window, 'ctrl+comma');
      await sleep(300);
      const { colours, mark } = await stage.display.look(window);
      return colours > 300 && mark !== before;
    });
    program.kill();
    await ended;
  });
}

await stage.run(2, test);
