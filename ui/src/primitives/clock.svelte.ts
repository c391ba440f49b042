import { createSubscriber } from 'svelte/reactivity';

/** A clock that runs only while something on the screen reads it, so that an idle window costs nothing. */
class Clock {
  readonly #subscribe: () => void;

  constructor(every: number) {
    this.#subscribe = createSubscriber((update) => {
      const timer = setInterval(update, every);
      return () => clearInterval(timer);
    });
  }

  get now(): number {
    this.#subscribe();
    return Date.now();
  }
}

/** For countdowns. */
export const seconds = new Clock(1_000);
/** For "2 minutes ago". */
export const minutes = new Clock(30_000);
