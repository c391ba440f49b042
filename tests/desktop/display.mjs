/** A display of its own with a window manager and a bus: nothing on the desktop of whoever runs the test is touched. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';

export const run = promisify(execFile);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until the answer is truthy. What was waited for is the error. */
export async function until(what, ask, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  let last;
  do {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(50);
  } while (Date.now() < end);
  throw new Error(`waited ${seconds} s in vain: ${what}`, { cause: last });
}

const firstLine = (stream) =>
  new Promise((done, fail) => {
    let text = '';
    stream.setEncoding('utf8');
    stream.on('data', (part) => {
      text += part;
      const end = text.indexOf('\n');
      if (end >= 0) done(text.slice(0, end));
    });
    stream.once('end', () => fail(new Error('a helper ended before it was ready')));
  });

/** From the button that keeps things as they are, which has the focus, to the other. */
const YES = ['Tab', 'Return'];

export class Display {
  #helpers = [];

  /** Starts everything. `environment` is what programs on the display get, and is completed here. */
  static async start(environment) {
    const display = new Display();
    display.environment = environment;
    // Without -noreset the server begins anew, with whoever is just starting, when its last client leaves.
    const server = display.#helper(
      'Xvfb',
      ['-displayfd', '3', '-screen', '0', '1280x900x24', '-nolisten', 'tcp', '-noreset'],
      {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      },
    );
    environment.DISPLAY = `:${(await firstLine(server.stdio[3])).trim()}`;
    const bus = display.#helper('dbus-daemon', ['--session', '--nofork', '--print-address=1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    environment.DBUS_SESSION_BUS_ADDRESS = await firstLine(bus.stdout);
    display.#helper('openbox', ['--sm-disable'], { stdio: 'ignore' });
    await until('the window manager', () => display.xdo('get_num_desktops'));
    return display;
  }

  #helper(program, args, options) {
    const helper = spawn(program, args, { env: this.environment, ...options });
    helper.on('error', (error) => {
      console.error(`${program} does not start: ${error.message}`);
      process.exit(1);
    });
    this.#helpers.push(helper);
    return helper;
  }

  async xdo(...args) {
    const { stdout } = await run('xdotool', args.map(String), { env: this.environment });
    return stdout.trim();
  }

  /** The visible window with exactly this title. */
  async window(title) {
    return until(`a window “${title}”`, async () => (await this.#search(title))[0]);
  }

  async hasWindow(title) {
    return (await this.#search(title)).length > 0;
  }

  async #search(title) {
    return this.#searchPattern(`^${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
  }

  /** The desktop's questions that are open, each a window whose title is the question. */
  dialogs() {
    return this.#searchPattern('(\\?|？)$');
  }

  /** Presses a key that does nothing, so that the shell sees somebody at work. A window that is hidden has nobody. */
  async pressAnything() {
    const [window] = await this.#search('Ferry');
    if (window) await this.press(window, 'Shift_L');
  }

  /** Answers a question of the desktop's. */
  async answer(dialog, yes) {
    const keys = yes ? YES : ['Escape'];
    // A yes that comes too soon is none.
    if (yes) await sleep(1000);
    await this.xdo('windowactivate', '--sync', dialog, 'key', '--delay', 80, ...keys);
    await until('the question to go', async () => !(await this.dialogs()).includes(dialog));
  }

  async #searchPattern(pattern) {
    try {
      return (await this.xdo('search', '--onlyvisible', '--name', pattern)).split('\n').filter(Boolean);
    } catch {
      return [];
    }
  }

  /** How many menus and the like are open: windows that no window manager looks after. */
  async popUps() {
    const { stdout } = await run('xwininfo', ['-root', '-tree'], { env: this.environment });
    return stdout.split('\n').filter((line) => line.includes('("ferry-desktop"')).length;
  }

  /** Where a window's content lies; the window manager's frame does not count. */
  async place(window) {
    const { stdout } = await run('xwininfo', ['-id', window], { env: this.environment });
    const number = (label) => Number(new RegExp(`${label}:\\s+(-?\\d+)`).exec(stdout)[1]);
    return {
      x: number('Absolute upper-left X'),
      y: number('Absolute upper-left Y'),
      width: number('Width'),
      height: number('Height'),
    };
  }

  async press(window, key) {
    await this.xdo('windowactivate', '--sync', window, 'key', key);
  }

  async type(text) {
    await this.xdo('type', '--delay', '25', text);
    await sleep(300);
  }

  /** Closes a window as its user does, through the window manager. */
  close(window) {
    return this.press(window, 'alt+F4');
  }

  /** Drags files onto a point, as a hand would; `hovering` is called before they are let go. */
  async drop(paths, to, hovering) {
    const [x, y] = [1225, 845];
    const script = new URL('drag_source.py', import.meta.url).pathname;
    const source = spawn('/usr/bin/python3', [script, x, y, ...paths], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#helpers.push(source);
    await firstLine(source.stdout);
    await sleep(300);
    await this.xdo('mousemove', x + 20, y + 20, 'sleep', 0.1, 'mousedown', 1);
    const steps = 12;
    for (let step = 1; step <= steps; step += 1) {
      const at = (from, end) => Math.round(from + ((end - from) * step) / steps);
      await this.xdo('mousemove', at(x + 20, to.x), at(y + 20, to.y));
      await sleep(60);
    }
    await hovering?.();
    await this.xdo('mouseup', 1);
    await sleep(200);
    source.kill();
  }

  /** Drags what is at a point to a window that takes files, as a hand would; answers their addresses. */
  async dragOut(from, file) {
    const [x, y] = [1190, 810];
    const script = new URL('drop_target.py', import.meta.url).pathname;
    const target = spawn('/usr/bin/python3', [script, x, y, file], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#helpers.push(target);
    await firstLine(target.stdout);
    await this.xdo('mousemove', from.x, from.y, 'sleep', 0.2, 'mousedown', 1);
    const steps = 15;
    for (let step = 1; step <= steps; step += 1) {
      const at = (begin, end) => Math.round(begin + ((end - begin) * step) / steps);
      await this.xdo('mousemove', at(from.x, x + 40), at(from.y, y + 40));
      await sleep(80);
    }
    await sleep(300);
    await this.xdo('mouseup', 1);
    const taken = await until('the files to be taken', () => existsSync(file) && readFileSync(file, 'utf8'), 5);
    target.kill();
    return taken.split('\n');
  }

  /** Starts a panel that takes tray icons and notices: what it `said`, `click` on an entry of the icon's menu, and
   * `leave`. */
  async panel() {
    const script = new URL('panel.py', import.meta.url).pathname;
    const helper = this.#helper('/usr/bin/python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const said = [];
    helper.stdout.setEncoding('utf8');
    helper.stdout.on('data', (text) => said.push(...text.split('\n').filter(Boolean)));
    await until('the panel', () => said.filter((line) => line.startsWith('owns')).length === 2);
    return { said, click: (words) => helper.stdin.write(`click ${words}\n`), leave: () => helper.kill() };
  }

  /** What a window shows: how many colours it has, and a mark of its picture. */
  async look(window) {
    const args = ['-window', window, '-format', '%k %#', 'info:-'];
    const { stdout } = await run('import', args, { env: this.environment });
    const [colours, mark] = stdout.trim().split(' ');
    return { colours: Number(colours), mark };
  }

  async screenshot(file) {
    await run('import', ['-window', 'root', file], { env: this.environment });
  }

  async stop() {
    for (const helper of this.#helpers.reverse()) {
      if (helper.exitCode === null && helper.signalCode === null && helper.kill()) {
        await Promise.race([once(helper, 'exit'), sleep(2000)]);
      }
    }
  }
}
