/** The sandbox in a process of its own: a service as far away as it gets on one computer, with its faults. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

import { until } from './display.mjs';
import { built } from './stage.mjs';

/** The same in each of its runs, so that its addresses are. */
const KEY = 'sk-desktop';

export class Service {
  #folder;

  /** `folder`: where it keeps its files. */
  constructor(folder) {
    this.#folder = folder;
  }

  /** Starts it, always at the same address. */
  async start() {
    const args = [this.#folder, String(this.port ?? 0), KEY];
    this.process = spawn(built('examples/sandbox_server'), args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    this.process.stdout.setEncoding('utf8');
    this.process.stdout.on('data', (text) => (said += text));
    this.port = await until('the service', () => /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
    this.url = `http://127.0.0.1:${this.port}`;
    for (const part of ['links', 'mavi', 'tube', 'control']) this[part] = new RegExp(`^${part} (.*)$`, 'm').exec(said)[1];
  }

  kill(signal = 'SIGKILL') {
    this.process.kill(signal);
  }

  /** The address of a file that it makes up. */
  link(size, name) {
    return `${this.links}/generate/${size}/${name}`;
  }

  /** Switches a fault on. */
  async fault(fault) {
    await this.#tell('faults', 'POST', fault);
  }

  /** Switches all faults off. */
  async heal() {
    await this.#tell('faults', 'DELETE');
  }

  /** The latest requests, oldest first. */
  async requests() {
    return (await fetch(`${this.control}/requests`)).json();
  }

  async #tell(what, method, body) {
    const answer = await fetch(`${this.control}/${what}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    assert.ok(answer.ok, `${what}: ${answer.status}`);
  }
}
