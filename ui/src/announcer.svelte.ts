import { m } from './paraglide/messages.js';
import { failure } from './describe';
import * as format from './format';
import type { Turn } from './transfers.svelte';

/** The shortest time between two messages of the live region, in milliseconds. */
const PAUSE = 5_000;

/** What a screen reader is told without being asked: endings of transfers, gathered so that it does not chatter. */
export class Announcer {
  message = $state('');
  #completed: string[] = [];
  #failed: { name: string; message: string }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = -PAUSE;

  note(turns: Turn[]) {
    for (const { transfer } of turns) {
      if (transfer.state.is === 'completed') this.#completed.push(transfer.name);
      if (transfer.state.is === 'failed')
        this.#failed.push({ name: transfer.name, message: failure(transfer.state).title });
    }
    if (this.#timer !== undefined || this.#completed.length + this.#failed.length === 0) return;
    const wait = Math.max(0, this.#last + PAUSE - performance.now());
    this.#timer = setTimeout(() => this.#speak(), wait);
  }

  #speak() {
    const parts: string[] = [];
    const [failed] = this.#failed;
    const [completed] = this.#completed;
    if (this.#failed.length === 1 && failed) parts.push(m.announce_failed(failed));
    else if (failed)
      parts.push(m.announce_many_failed({ count: this.#failed.length, n: format.count(this.#failed.length) }));
    if (this.#completed.length === 1 && completed) parts.push(m.announce_complete({ name: completed }));
    else if (completed)
      parts.push(m.announce_many_complete({ count: this.#completed.length, n: format.count(this.#completed.length) }));
    this.message = parts.join(' ');
    this.#completed = [];
    this.#failed = [];
    this.#timer = undefined;
    this.#last = performance.now();
  }
}

export const announcer = new Announcer();
