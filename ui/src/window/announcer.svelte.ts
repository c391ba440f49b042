import { m } from '../paraglide/messages.js';
import * as describe from '../words/describe';
import * as format from '../words/format';
import type { Endings } from '../engine/types';

/** The shortest time between two messages of the live region, in milliseconds. */
const PAUSE = 5_000;
const NOTHING: Endings = { completed: 0, completed_name: null, failed: 0, failed_name: null, failure: null };

/** What a screen reader is told without being asked: endings of transfers, gathered so that it does not chatter. */
export class Announcer {
  message = $state('');
  #ended = NOTHING;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = -PAUSE;

  note(ended: Endings) {
    const before = this.#ended;
    this.#ended = {
      completed: before.completed + ended.completed,
      completed_name: before.completed_name ?? ended.completed_name,
      failed: before.failed + ended.failed,
      failed_name: before.failed_name ?? ended.failed_name,
      failure: before.failure ?? ended.failure,
    };
    if (this.#timer !== undefined || this.#ended.completed + this.#ended.failed === 0) return;
    const wait = Math.max(0, this.#last + PAUSE - performance.now());
    this.#timer = setTimeout(() => this.#speak(), wait);
  }

  #speak() {
    const parts: string[] = [];
    const { completed, completed_name, failed, failed_name, failure } = this.#ended;
    if (failed === 1 && failed_name !== null && failure)
      parts.push(m.announce_failed({ name: failed_name, message: describe.failure(failure).title }));
    else if (failed > 0) parts.push(m.announce_many_failed({ count: failed, n: format.count(failed) }));
    if (completed === 1 && completed_name !== null) parts.push(m.announce_complete({ name: completed_name }));
    else if (completed > 0) parts.push(m.announce_many_complete({ count: completed, n: format.count(completed) }));
    this.message = parts.join(' ');
    this.#ended = NOTHING;
    this.#timer = undefined;
    this.#last = performance.now();
  }
}

export const announcer = new Announcer();
