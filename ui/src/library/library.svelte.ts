import * as ipc from '../engine/ipc';
import type { Asset, LibraryChanges } from '../engine/types';

/** Between the end of a transfer and the count of the library, in milliseconds. */
const MOMENT = 500;
/** Between two searches for what has come since, in milliseconds. */
const AGAIN = 5_000;

export const keyOf = (asset: Asset) => `${asset.service}/${asset.asset_id}`;

/** The list with these in it as they are now, newest first. What did not become newer stays where it is. */
export function merged(items: readonly Asset[], changed: readonly Asset[], mayAdd = true): Asset[] {
  const news = new Map(changed.map((asset) => [keyOf(asset), asset]));
  const rest = items.flatMap((before) => {
    const now = news.get(keyOf(before));
    if (!now) return [before];
    if (mayAdd && now.at !== before.at) return [];
    news.delete(keyOf(before));
    return [now];
  });
  if (!mayAdd || news.size === 0) return rest;
  // Of those of one moment the last one written down is the newest.
  const added = [...news.values()].reverse().sort((one, other) => other.at - one.at);
  const all: Asset[] = [];
  let next = 0;
  for (const asset of rest) {
    for (let one = added[next]; one && one.at >= asset.at; one = added[next]) {
      all.push(one);
      next += 1;
    }
    all.push(asset);
  }
  return [...all, ...added.slice(next)];
}

/** The library as last asked for. The engine holds it and tells what changes; this holds what the page shows. */
class Library {
  items = $state.raw<Asset[]>([]);
  search = $state('');
  loaded = $state(false);
  failure = $state.raw<ReturnType<typeof ipc.asFailure> | null>(null);
  /** All of it, whatever is searched for. */
  total = $state(0);
  #asked = 0;
  /** What `items` are the answer to. */
  #shown = '';
  /** What was told while an answer was under way, which may be older. */
  #aside: Asset[] | null = null;
  #counting: ReturnType<typeof setTimeout> | undefined;
  #searching: ReturnType<typeof setTimeout> | undefined;

  /** Takes in what the engine says. */
  tell({ changed, read_anew }: LibraryChanges) {
    if (read_anew) {
      void this.load();
      return;
    }
    this.#aside?.push(...changed);
    if (!this.loaded || this.failure) return;
    this.#take(changed);
  }

  #take(changed: Asset[]) {
    if (changed.length === 0) return;
    const found = this.#shown !== '';
    this.items = merged(this.items, changed, !found);
    if (found) {
      // Whether a new one is among what is searched for, the engine knows.
      this.#recount();
      this.#searchAgain();
    } else this.total = this.items.length;
  }

  #searchAgain() {
    if (this.#searching !== undefined) return;
    this.#searching = setTimeout(() => {
      this.#searching = undefined;
      if (this.#shown !== '') void this.load();
    }, AGAIN);
  }

  /** Counts anew, in a moment: much may come at once. */
  #recount() {
    if (this.#counting !== undefined) return;
    this.#counting = setTimeout(() => {
      this.#counting = undefined;
      ipc.assetCount().then(
        (count) => (this.total = count),
        // The number beside the name is not worth a message; the next change asks again.
        () => undefined,
      );
    }, MOMENT);
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    const query = this.search.trim();
    this.#aside = [];
    try {
      const items = await ipc.assets(query);
      // Answers can overtake each other while someone types: only the last question counts.
      if (asked !== this.#asked) return;
      this.items = items;
      this.#shown = query;
      if (!query) this.total = items.length;
      this.failure = null;
      this.#take(this.#aside);
    } catch (error) {
      if (asked === this.#asked) this.failure = ipc.asFailure(error);
    } finally {
      if (asked === this.#asked) {
        this.#aside = null;
        this.loaded = true;
      }
    }
  }
}

export const library = new Library();
