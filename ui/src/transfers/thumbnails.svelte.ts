import { SvelteMap } from 'svelte/reactivity';

import * as ipc from '../engine/ipc';
import type { Transfer, TransferId } from '../engine/types';

/** Pictures that are kept; each is some ten kilobytes. */
const MOST_KEPT = 300;
/** Questions at a time. The engine's side makes one picture after the other. */
const MOST_ASKED = 3;
/** A row that is scrolled past faster than this asks for nothing, in milliseconds. */
const PAUSE = 150;

const pictured = /\.(jpe?g|png|gif|webp|mp4|m4v|mov|mkv|webm|avi)$/i;

/** Small pictures of finished files, for the rows that are on the screen. */
class Thumbnails {
  #kept = new SvelteMap<TransferId, string | null>();
  #wanted = new Set<TransferId>();
  #asked = 0;

  of(id: TransferId): string | null {
    return this.#kept.get(id) ?? null;
  }

  /** Asks for a picture, unless there can be none. Answers what takes the wish back. */
  want({ id, state, name }: Transfer): (() => void) | undefined {
    if (state.is !== 'completed' || !pictured.test(name) || this.#kept.has(id)) return undefined;
    const timer = setTimeout(() => {
      this.#wanted.add(id);
      this.#ask();
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      this.#wanted.delete(id);
    };
  }

  #ask() {
    for (const id of this.#wanted) {
      if (this.#asked >= MOST_ASKED) return;
      this.#wanted.delete(id);
      this.#asked += 1;
      void ipc
        .thumbnail(id)
        // A picture that cannot be made is none.
        .catch(() => null)
        .then((url) => {
          this.#asked -= 1;
          this.#keep(id, url);
          this.#ask();
        });
    }
  }

  #keep(id: TransferId, url: string | null) {
    this.#kept.set(id, url);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
  }
}

export const thumbnails = new Thumbnails();
