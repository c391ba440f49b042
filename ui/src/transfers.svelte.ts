import { type Filter, matches, type Order, orders, tabOf } from './columns';
import { services } from './services.svelte';
import type { SpeedSample, Transfer, TransferId } from './types';

/** What was completed today, of what is in the list: files, and bytes each way. */
export interface Day {
  files: number;
  down: number;
  up: number;
}

/** A state that a transfer came into just now. */
export interface Turn {
  transfer: Transfer;
  before: Transfer['state']['is'];
}

/** Longer than the pause between two changes while bytes move, in milliseconds. */
const SILENCE = 1_000;
const NO_COUNTS: Record<Filter, number> = { all: 0, active: 0, done: 0, attention: 0 };
const NO_TOTALS = { down: 0, up: 0, running: 0, waiting: 0, paused: 0, offline: 0 };
const NO_DAY: Day = { files: 0, down: 0, up: 0 };

/** The list of transfers: a copy of what the engine says, kept in order, with its counts. Holds nothing of its own that matters. */
export class Transfers {
  /** Every transfer, in the chosen order. Replaced, never changed in place. */
  list = $state.raw<Transfer[]>([]);
  counts = $state.raw(NO_COUNTS);
  totals = $state.raw(NO_TOTALS);
  today = $state.raw(NO_DAY);
  loaded = $state(false);

  filter = $state<Filter>('all');
  search = $state('');
  #order = $state<Order>('queue');
  /** Removed by the user, still in the engine until the undo has passed. */
  #hidden = $state.raw<ReadonlySet<TransferId>>(new Set());

  #rows = new Map<TransferId, Transfer>();
  /** Total speed over the last minute, oldest first. */
  pulse = $state.raw<SpeedSample[]>([]);

  /** What the list shows: filtered and searched. */
  readonly shown: Transfer[] = $derived.by(() => {
    const query = this.search.trim().toLowerCase();
    const { filter } = this;
    const hidden = this.#hidden;
    if (filter === 'all' && !query && hidden.size === 0) return this.list;
    const name = (id: string) => services.name(id);
    return this.list.filter(
      (transfer) =>
        (filter === 'all' || tabOf(transfer) === filter) &&
        !hidden.has(transfer.id) &&
        (!query || matches(transfer, query, name)),
    );
  });

  get order(): Order {
    return this.#order;
  }

  set order(order: Order) {
    this.#order = order;
    this.list = [...this.#rows.values()].sort(orders[order].compare);
  }

  get(id: TransferId): Transfer | undefined {
    return this.#rows.get(id);
  }

  /** Everything anew, from a snapshot. */
  reset(all: Transfer[]) {
    this.#rows = new Map(all.map((transfer) => [transfer.id, transfer]));
    this.list = [...all].sort(orders[this.#order].compare);
    this.loaded = true;
    this.#hidden = new Set([...this.#hidden].filter((id) => this.#rows.has(id)));
    this.#count(Date.now());
  }

  /** What changed since. Answers which transfers came into another state. */
  apply(changed: Transfer[], removed: TransferId[], now = Date.now()): Turn[] {
    const turns: Turn[] = [];
    const moved = new Map<TransferId, Transfer>();
    const replaced = new Map<TransferId, Transfer>();
    const { compare } = orders[this.#order];
    for (const transfer of changed) {
      const before = this.#rows.get(transfer.id);
      if (before && before.state.is !== transfer.state.is) turns.push({ transfer, before: before.state.is });
      // Only what sorts differently has to find a new place; at five changes a second in 100,000 rows this matters.
      if (before && compare(before, transfer) === 0) replaced.set(transfer.id, transfer);
      else moved.set(transfer.id, transfer);
      this.#rows.set(transfer.id, transfer);
    }
    const gone = new Set(removed);
    for (const id of gone) {
      this.#rows.delete(id);
    }
    this.list = merged(this.list, replaced, moved, gone, compare);
    if (gone.size > 0) this.#unhide(gone);
    this.#count(now);
    return turns;
  }

  /** Takes rows out of sight until their removal is final. */
  hide(ids: TransferId[]) {
    this.#hidden = new Set([...this.#hidden, ...ids]);
    this.#count(Date.now());
  }

  unhide(ids: TransferId[]) {
    this.#unhide(new Set(ids));
    this.#count(Date.now());
  }

  #unhide(ids: ReadonlySet<TransferId>) {
    if (this.#hidden.size === 0) return;
    this.#hidden = new Set([...this.#hidden].filter((id) => !ids.has(id)));
  }

  #count(now: number) {
    const counts = { ...NO_COUNTS };
    const totals = { ...NO_TOTALS };
    const today = { ...NO_DAY };
    const midnight = new Date(now).setHours(0, 0, 0, 0);
    for (const transfer of this.#rows.values()) {
      if (this.#hidden.has(transfer.id)) continue;
      counts.all += 1;
      counts[tabOf(transfer)] += 1;
      const { is } = transfer.state;
      if (is === 'running' || is === 'verifying') {
        if (transfer.wait) totals.waiting += 1;
        else totals.running += 1;
        if (transfer.kind === 'upload') totals.up += transfer.speed ?? 0;
        else totals.down += transfer.speed ?? 0;
      } else if (is === 'completed' && (transfer.ended_at ?? 0) >= midnight) {
        today.files += 1;
        today[transfer.kind === 'upload' ? 'up' : 'down'] += transfer.bytes;
      } else if (is === 'queued') totals.waiting += 1;
      else if (is === 'paused') totals.paused += 1;
      if (transfer.wait?.reason === 'network') totals.offline += 1;
    }
    this.counts = counts;
    this.totals = totals;
    this.today = today;
    const since = now - 60_000;
    const last = this.pulse.at(-1);
    // The engine is silent while nothing changes: the curve stays level until now instead of sloping towards it.
    const held = last && now - last.at > SILENCE ? [{ at: now - 1, speed: last.speed }] : [];
    this.pulse = [
      ...this.pulse.filter((sample) => sample.at >= since),
      ...held,
      { at: now, speed: totals.down + totals.up },
    ];
  }
}

/** The ordered list with some rows replaced where they stand, some put in anew and some taken out. */
function merged(
  list: Transfer[],
  replaced: ReadonlyMap<TransferId, Transfer>,
  moved: ReadonlyMap<TransferId, Transfer>,
  gone: ReadonlySet<TransferId>,
  compare: (a: Transfer, b: Transfer) => number,
): Transfer[] {
  const incoming = [...moved.values()].filter((transfer) => !gone.has(transfer.id)).sort(compare);
  const result: Transfer[] = [];
  let next = 0;
  for (const old of list) {
    if (gone.has(old.id) || moved.has(old.id)) continue;
    const row = replaced.get(old.id) ?? old;
    for (let first = incoming[next]; first && compare(first, row) < 0; first = incoming[next]) {
      result.push(first);
      next += 1;
    }
    result.push(row);
  }
  return result.concat(incoming.slice(next));
}

export const transfers = new Transfers();
