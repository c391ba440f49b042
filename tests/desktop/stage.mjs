/** What a test in the real window stands on: a home of its own, a display of its own, steps and pictures. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { Display, until } from './display.mjs';
import { Driver } from './webdriver.mjs';

const ROOT = resolve(import.meta.dirname, '../..');
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');

/** A built program. */
export function built(name) {
  const path = join(TARGET, 'debug', name);
  if (!existsSync(path)) {
    console.error(`${path} is not there: build it first`);
    process.exit(1);
  }
  return path;
}

export const PROGRAM = process.env.FERRY_DESKTOP ? resolve(process.env.FERRY_DESKTOP) : built('ferry-desktop');

export async function step(name, work) {
  const begin = Date.now();
  await work();
  console.log(`ok  ${name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
}

export class Stage {
  /** What a program is started through, if anything: a command and its arguments. */
  wrapper = [];
  #count = 0;
  #started = [];

  /** `name`: the folder of its pictures in target/. `more`: what the programs get in their environment besides. */
  constructor(name, more = {}) {
    this.pictures = join(TARGET, name);
    rmSync(this.pictures, { recursive: true, force: true });
    mkdirSync(this.pictures, { recursive: true });
    // The folder's path must not hold a ':' (the accessibility bus).
    this.folder = mkdtempSync(join(tmpdir(), 'ferry-desktop-'));
    this.home = join(this.folder, 'home');
    this.downloads = join(this.home, 'Downloads');
    this.environment = {
      PATH: process.env.PATH,
      HOME: this.home,
      LANG: 'C.UTF-8',
      XDG_RUNTIME_DIR: join(this.folder, 'run'),
      XDG_CONFIG_HOME: join(this.home, '.config'),
      XDG_DATA_HOME: join(this.home, '.local/share'),
      XDG_CACHE_HOME: join(this.home, '.cache'),
      FERRY_DATA_DIR: join(this.folder, 'data'),
      ...more,
    };
    for (const one of [this.environment.XDG_RUNTIME_DIR, this.environment.XDG_CONFIG_HOME, this.downloads]) {
      mkdirSync(one, { recursive: true, mode: 0o700 });
    }
    writeFileSync(join(this.environment.XDG_CONFIG_HOME, 'user-dirs.dirs'), 'XDG_DOWNLOAD_DIR="$HOME/Downloads"\n');
  }

  /** Starts the window and waits for its page. */
  async open() {
    this.page = await this.driver.open(PROGRAM);
    this.page.hand = () => this.display.pressAnything();
    return this.page;
  }

  /** Calls a command as the page does after a press, and says yes to what the desktop asks before it is done. */
  async invokeByHand(command, args) {
    await this.display.pressAnything();
    let answer;
    const answered = this.page.invoke(command, args).then((it) => (answer = it));
    await until(`an answer of ${command}`, async () => {
      if (answer) return true;
      const asked = (await this.display.dialogs())[0];
      if (asked) await this.display.answer(asked, true);
      return false;
    });
    await answered;
    return answer;
  }

  /** Begins a download as a person does. Places inside the own network are asked about once. */
  async download(request) {
    const { ok, refused } = await this.invokeByHand('download', { request });
    if (ok === undefined) throw new Error(JSON.stringify(refused));
    return ok.id;
  }

  /** Starts the program without a driver, as a second one or as the desktop does. */
  start(changes = {}, args = []) {
    const environment = { ...this.environment, ...changes };
    for (const [name, value] of Object.entries(changes)) if (value === null) delete environment[name];
    const program = spawn(PROGRAM, args, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    program.stderr.setEncoding('utf8');
    program.stderr.on('data', (text) => (said += text));
    const ended = new Promise((done) => program.once('exit', (code, signal) => done({ code, signal, said })));
    this.#started.push(program);
    return { program, ended };
  }

  async picture(name) {
    this.#count += 1;
    await this.page?.painted();
    await this.display.screenshot(join(this.pictures, `${String(this.#count).padStart(2, '0')}-${name}.png`));
  }

  /** The words of each row on the page. */
  rows() {
    return this.page.evaluate(
      'return [...document.querySelectorAll("[role=row][data-id]")].map((row) => row.innerText)',
    );
  }

  /** The list as the page shows it, but whole. */
  async transfers() {
    const { ok: ids } = await this.page.invoke('between', { from: null, to: null });
    return (await this.page.invoke('rows', { ids })).ok;
  }

  /** The settings as the engine has them. By the gap in what it is told the page sees that it has to look again. */
  async settings() {
    const of = {
      filter: 'all',
      search: '',
      order: 'queue',
      locale: 'en',
      midnight: 0,
      from: 0,
      count: 0,
      cursor: null,
    };
    return (await this.page.invoke('open', { look: of, fresh: false })).ok.settings;
  }

  /** Runs a test in at most `minutes`, cleans up after it, and ends this process. */
  async run(minutes, test) {
    const began = Date.now();
    let watchdog;
    const late = new Promise((_, fail) => {
      watchdog = setTimeout(() => fail(new Error(`the tests took more than ${minutes} minutes`)), minutes * 60_000);
    });
    let failed = false;
    try {
      this.display = await Display.start(this.environment);
      this.driver = await Driver.start(this.environment, this.wrapper);
      await Promise.race([test(), late]);
    } catch (error) {
      failed = true;
      console.error(error);
      if (this.driver?.said) console.error(this.driver.said);
      if (this.page?.isAlive) console.error(await this.page.text().catch(() => ''));
      await this.display?.screenshot(join(this.pictures, 'failed.png')).catch(() => undefined);
    } finally {
      clearTimeout(watchdog);
      if (this.page?.isAlive) process.kill(this.page.pid);
      for (const program of this.#started) program.kill();
      await this.cleanUp?.();
      this.driver?.stop();
      await this.display?.stop();
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    }
    const took = ((Date.now() - began) / 1000).toFixed(0);
    console.log(`${failed ? 'failed' : 'passed'} in ${took} s; pictures in ${this.pictures}`);
    process.exit(failed ? 1 : 0);
  }
}
