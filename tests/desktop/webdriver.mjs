/** The few words of the W3C WebDriver protocol that the tests need, spoken to WebKit's own driver. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

import { until } from './display.mjs';

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

export class Driver {
  /** `wrapper`: a command, with its arguments, that everything is started through. */
  static async start(environment, wrapper = []) {
    const driver = new Driver();
    const port = await freePort();
    driver.address = `http://127.0.0.1:${port}`;
    // Without this variable the webview takes no orders.
    const [command, ...args] = [...wrapper, 'WebKitWebDriver', `--port=${port}`];
    driver.process = spawn(command, args, {
      env: { ...environment, TAURI_WEBVIEW_AUTOMATION: 'true' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    driver.process.stderr.setEncoding('utf8');
    driver.said = '';
    driver.process.stderr.on('data', (text) => (driver.said += text));
    await until('the driver', async () => (await fetch(`${driver.address}/status`)).ok);
    return driver;
  }

  async send(method, path, body) {
    const answer = await fetch(this.address + path, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  }

  /** Starts the program and waits until its page runs. */
  async open(binary) {
    const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': { binary, args: [] } } };
    const { sessionId } = await this.send('POST', '/session', { capabilities });
    const page = new Page(this, `/session/${sessionId}`, children(this.process.pid));
    await until('the page', () => page.evaluate('return document.querySelector("#app")?.childElementCount > 0'));
    return page;
  }

  stop() {
    this.process.kill();
  }
}

/** The processes that this one started. */
export function children(parent) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        // The name in brackets may hold spaces; what follows it does not.
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return Number(ppid) === parent && state !== 'Z';
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** A program's children and theirs: the page's process is behind those of its sandbox. */
export const descendants = (parent) => children(parent).flatMap((pid) => [pid, ...descendants(pid)]);

class Page {
  constructor(driver, path, pids) {
    this.driver = driver;
    this.path = path;
    this.pid = pids[0];
  }

  /** Runs a function body in the page. */
  evaluate(script, ...args) {
    return this.driver.send('POST', `${this.path}/execute/sync`, { script, args });
  }

  /** Calls a command as a script in the page could: `{ ok }` or `{ refused }`. */
  invoke(command, args = {}) {
    const script = `
      const [command, args, done] = arguments;
      window.__TAURI_INTERNALS__.invoke(command, args).then((ok) => done({ ok }), (refused) => done({ refused }));`;
    return this.driver.send('POST', `${this.path}/execute/async`, { script, args: [command, args] });
  }

  /** Waits for a visible element of this CSS kind that is called so, as a screen reader would call it. */
  find(css, name, seconds) {
    const script = `
      const [css, name] = arguments;
      return [...document.querySelectorAll(css)].find((element) => {
        const called = element.getAttribute('aria-label') ?? element.innerText;
        return called.trim().includes(name) && element.getClientRects().length > 0;
      }) ?? null;`;
    return until(`${css} “${name}”`, () => this.evaluate(script, css, name), seconds);
  }

  /** Clicks as soon as that is possible: a dialog that is just going lies over everything until it has gone. */
  async click(css, name) {
    await until(`a click on ${css} “${name}”`, async () => {
      const element = await this.find(css, name);
      // The driver's click reaches the page by another road than a hand's.
      await this.hand?.();
      await this.driver.send('POST', `${this.path}/element/${element[ELEMENT]}/click`, {});
      return true;
    });
  }

  /** Waits until what the page has drawn is on the screen and its short motions have ended. */
  painted() {
    const script = `
      const done = arguments[0];
      setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))), 200);`;
    return this.driver.send('POST', `${this.path}/execute/async`, { script, args: [] });
  }

  text() {
    return this.evaluate('return document.body.innerText');
  }

  get isAlive() {
    try {
      process.kill(this.pid, 0);
      return children(this.driver.process.pid).includes(this.pid);
    } catch {
      return false;
    }
  }

  /** Waits for the program's end, in milliseconds, and lets go of it. */
  async ended(seconds = 5) {
    const begin = Date.now();
    await until('the window to end', () => !this.isAlive, seconds);
    const took = Date.now() - begin;
    await this.driver.send('DELETE', this.path).catch(() => undefined);
    return took;
  }
}
