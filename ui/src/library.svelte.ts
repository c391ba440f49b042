import * as ipc from './ipc';
import type { Asset } from './types';

/** The library as last asked for. The engine holds it; this holds what the page shows. */
class Library {
  items = $state.raw<Asset[]>([]);
  search = $state('');
  loaded = $state(false);
  failure = $state.raw<ReturnType<typeof ipc.asFailure> | null>(null);
  /** All of it, whatever is searched for. */
  total = $state(0);
  #asked = 0;

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
