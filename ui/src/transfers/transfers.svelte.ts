import { untrack } from 'svelte';

import * as ipc from '../engine/ipc';
import type { Filter, Listing, Look, Order, SpeedSample, Transfer, TransferId } from '../engine/types';

/** Rows that are asked for above and below those in sight, so that scrolling meets no empty place. */
const MARGIN = 40;
/** With fewer rows than this left on one side the next ones are asked for. */
const AHEAD = 20;
/** Longer than the pause between two changes while bytes move, in milliseconds. */
const SILENCE = 1_000;

const NOTHING: Listing = {
  revision: -1,
  length: 0,
  movable: 0,
  counts: { all: 0, active: 0, done: 0, attention: 0 },
  totals: { down: 0, up: 0, running: 0, waiting: 0, paused: 0, offline: 0 },
  today: { files: 0, down: 0, up: 0 },
  next: null,
  cursor: null,
  from: 0,
  ids: [],
  rows: [],
};

const viewOf = ({ order, filter, search }: Look) => [order, filter, search].join();

const around = (first: number, last: number) => ({
  from: Math.max(0, first - MARGIN),
  count: last - first + 2 * MARGIN,
});

export const midnightOf = (now: number) => new Date(now).setHours(0, 0, 0, 0);

/** A window onto the list of transfers, which is the engine's: what it last said, and the rows in sight. */
export class Transfers {
  /** What is wanted to be seen. */
  wish = $state.raw<Look>({
    filter: 'all',
    search: '',
    order: 'queue',
    locale: 'en',
    midnight: midnightOf(Date.now()),
    from: 0,
    count: 3 * MARGIN,
    cursor: null,
  });
  /** Asks the engine for what is wanted. Over when it is there. */
  ask: () => Promise<void> = () => Promise.resolve();

  /** What the engine last said, and the wish that it answers. */
  list = $state.raw(NOTHING);
  #look = $state.raw(this.wish);
  #rows = new Map<TransferId, Transfer>();
  /** Total speed over the last minute, oldest first. */
  pulse = $state.raw<SpeedSample[]>([]);

  /** The rows that were drawn last. */
  #seen: [first: number, last: number] = [0, 0];

  /** Changes when other rows are shown, or in another order. */
  readonly view = $derived(viewOf(this.#look));

  /** What `list` answers. */
  get look(): Look {
    return this.#look;
  }

  get loaded() {
    return this.list !== NOTHING;
  }

  get filter(): Filter {
    return this.wish.filter;
  }

  set filter(filter: Filter) {
    this.#turn({ filter });
  }

  get search(): string {
    return this.wish.search;
  }

  set search(search: string) {
    this.#turn({ search });
  }

  get order(): Order {
    return this.wish.order;
  }

  set order(order: Order) {
    this.#turn({ order });
  }

  set locale(locale: string) {
    this.#set('locale', locale);
  }

  set midnight(midnight: number) {
    this.#set('midnight', midnight);
  }

  set cursor(cursor: TransferId | null) {
    // Within reach its place is known anyway; the next look tells of it beyond.
    if (cursor !== untrack(() => this.wish.cursor)) this.wish = { ...this.wish, cursor };
  }

  /** Place of the cursor's row; `null` = it is not shown. */
  get place(): number | null {
    const { cursor } = this.wish;
    if (cursor === null) return null;
    return this.placeOf([cursor]) ?? (this.#look.cursor === cursor ? this.list.cursor : null);
  }

  /** The row at a place, unless it is out of reach. */
  at(index: number): Transfer | undefined {
    const { from, ids } = this.list;
    const id = ids[index - from];
    return id === undefined ? undefined : this.#rows.get(id);
  }

  /** A row by its id, unless it is out of reach. */
  get(id: TransferId): Transfer | undefined {
    void this.list;
    return this.#rows.get(id);
  }

  /** Where the first of these is that is within reach. */
  placeOf(ids: readonly TransferId[]): number | null {
    const wanted = new Set(ids);
    const at = this.list.ids.findIndex((id) => wanted.has(id));
    return at < 0 ? null : this.list.from + at;
  }

  /** Rows from one to the other, in order; `null` = an end of the list. */
  async between(one: TransferId | null, other: TransferId | null): Promise<TransferId[]> {
    const { from, ids, length } = this.list;
    const first = one === null ? (from === 0 ? 0 : -1) : ids.indexOf(one);
    const last = other === null ? (from + ids.length === length ? length - 1 - from : -1) : ids.indexOf(other);
    if (first < 0 || last < 0) return ipc.between(one, other);
    return ids.slice(Math.min(first, last), Math.max(first, last) + 1);
  }

  /** Looks anew, at something else or once more. Effects that do so depend on nothing here. */
  want(change: Partial<Look> = {}): Promise<void> {
    return untrack(() => {
      this.wish = { ...this.wish, ...change };
      return this.ask();
    });
  }

  #set<Key extends keyof Look>(key: Key, value: Look[Key]) {
    if (value !== untrack(() => this.wish[key])) void this.want({ [key]: value });
  }

  /** Another view begins at its top. Back to the one that is shown, before another was, stays where it is. */
  #turn(change: Partial<Look>) {
    const wish = untrack(() => ({ ...this.wish, ...change }));
    if (viewOf(wish) === viewOf(untrack(() => this.wish))) return;
    const stays = viewOf(wish) === untrack(() => this.view);
    void this.want({ ...change, ...(stays ? around(...this.#seen) : { from: 0 }) });
  }

  /** These rows are in sight. */
  see(first: number, last: number) {
    this.#seen = [first, last];
    const { from, count } = this.wish;
    const end = Math.min(last + AHEAD, this.list.length);
    if (Math.max(0, first - AHEAD) >= from && end <= from + count) return;
    void this.#around(first, last);
  }

  /** The row at a place, fetched if it is out of reach. What is in sight then has to be brought there, too. */
  async bring(index: number): Promise<Transfer | undefined> {
    // The hand may scroll elsewhere meanwhile.
    for (let tries = 0; tries < 3 && index >= 0 && index < this.list.length && !this.at(index); tries += 1)
      await this.#around(index, index + 1);
    return this.at(index);
  }

  /** Which row is at a place. What is in sight stays. */
  async idAt(index: number): Promise<TransferId | null> {
    return this.at(index)?.id ?? (await ipc.between(null, null))[index] ?? null;
  }

  #around(first: number, last: number) {
    return this.want(around(first, last));
  }

  /** Takes what the engine says: the answer to a look, or what changed since. */
  show(list: Listing, look?: Look, now = Date.now()) {
    const told = new Map(list.rows.map((row) => [row.id, row]));
    const rows = new Map<TransferId, Transfer>();
    for (const id of list.ids) {
      const before = this.#rows.get(id);
      const after = told.get(id);
      // One that did not change stays the one that it was, so that nothing is drawn anew.
      const row = before && after && JSON.stringify(before) === JSON.stringify(after) ? before : (after ?? before);
      if (row) rows.set(id, row);
    }
    this.#rows = rows;
    if (!look || !this.loaded) this.#beat(list.totals.down + list.totals.up, now);
    this.#look = look ?? this.#look;
    this.list = list;
  }

  #beat(speed: number, now: number) {
    const since = now - 60_000;
    const last = this.pulse.at(-1);
    // The engine is silent while nothing changes: the curve stays level until now instead of sloping towards it.
    const held = last && now - last.at > SILENCE ? [{ at: now - 1, speed: last.speed }] : [];
    this.pulse = [...this.pulse.filter((sample) => sample.at >= since), ...held, { at: now, speed }];
  }
}

export const transfers = new Transfers();
