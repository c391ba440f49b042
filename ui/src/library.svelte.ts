import * as ipc from './ipc';
import type { Asset } from './types';

/** Between the end of a transfer and the count of the library, in milliseconds. */
const MOMENT = 500;

/** The library as last asked for. The engine holds it; this holds what the page shows. */
class Library {
  items = $state.raw<Asset[]>([]);
  search = $state('');
  loaded = $state(false);
  failure = $state.raw<ReturnType<typeof ipc.asFailure> | null>(null);
  /** All of it, whatever is searched for. */
  total = $state(0);
  #asked = 0;
  #counting: ReturnType<typeof setTimeout> | undefined;

  /** Counts anew, in a moment: many transfers may end at once. */
  recount() {
    if (this.#counting !== undefined) return;
    this.#counting = setTimeout(() => {
      this.#counting = undefined;
      ipc.assetCount().then(
        (count) => (this.total = count),
        // The number beside the name is not worth a message; the next end asks again.
        () => undefined,
      );
    }, MOMENT);
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    const query = this.search.trim();
    try {
      const items = await ipc.assets(query);
      // Answers can overtake each other while someone types: only the last question counts.
      if (asked !== this.#asked) return;
      this.items = items;
      if (!query) this.total = items.length;
      this.failure = null;
    } catch (error) {
      if (asked === this.#asked) this.failure = ipc.asFailure(error);
    } finally {
      if (asked === this.#asked) this.loaded = true;
    }
  }
}

export const library = new Library();
