/** The sandbox in a process of its own: a service as far away as it gets on one computer, with its faults. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

import { until } from './display.mjs';
import { built } from './stage.mjs';

export class Service {
  #folder;

  /** `folder`: where it keeps its files. */
  constructor(folder) {
    this.#folder = folder;
  }

  /** Starts it, always at the same address. */
  async start() {
    const args = ['sandbox', '--data-dir', this.#folder, ...(this.port ? ['--port', String(this.port)] : [])];
    this.process = spawn(built('ferry'), args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    this.process.stdout.setEncoding('utf8');
    this.process.stdout.on('data', (text) => (said += text));
    this.port = await until('the service', () => /127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
    this.url = `http://127.0.0.1:${this.port}`;
  }

  kill(signal = 'SIGKILL') {
    this.process.kill(signal);
  }

  /** The address of a file that it makes up. */
  link(size, name) {
    return `${this.url}/generate/${size}/${name}`;
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
    return (await fetch(`${this.url}/_sandbox/requests`)).json();
  }

  async #tell(what, method, body) {
    const answer = await fetch(`${this.url}/_sandbox/${what}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    assert.ok(answer.ok, `${what}: ${answer.status}`);
  }
}
