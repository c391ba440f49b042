import { type Filter, matches, type Order, orders, tabOf } from './columns';
import { isOwn } from './phrases';
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

/** What the counts are made of. Each row adds itself and takes itself out again. */
interface Sums {
  counts: Record<Filter, number>;
  totals: typeof NO_TOTALS;
  today: Day;
}

/** Completed since then by bytes that moved, not by what the service still had. */
export const cameSince = ({ state, ended_at, note }: Transfer, then: number) =>
  state.is === 'completed' && (ended_at ?? 0) >= then && !(isOwn(note) && note.is === 'sent_before');

const midnightOf = (now: number) => new Date(now).setHours(0, 0, 0, 0);

/**
 * The list of transfers: a copy of what the engine says, kept in order, with its counts. Holds nothing of its own that
 * matters. What a change costs does not grow with the list, unless rows come, go or move.
 */
export class Transfers {
  /** Every transfer, in the chosen order. Another array when rows came, went or moved. */
  list = $state.raw<Transfer[]>([]);
  /** Grows when rows were put in the place of their older selves in `list`. */
  revision = $state(0);
  counts = $state.raw(NO_COUNTS);
  totals = $state.raw(NO_TOTALS);
  today = $state.raw(NO_DAY);
  loaded = $state(false);
  /** Over when the list is whole: a long one comes in portions. */
  whole: Promise<void> = Promise.resolve();

  filter = $state<Filter>('all');
  search = $state('');
  #order = $state<Order>('queue');
  /** Removed by the user, still in the engine until the undo has passed. */
  #hidden = $state.raw<ReadonlySet<TransferId>>(new Set());

  #rows = new Map<TransferId, Transfer>();
  #sums: Sums = { counts: { ...NO_COUNTS }, totals: { ...NO_TOTALS }, today: { ...NO_DAY } };
  #midnight = 0;
  /** Total speed over the last minute, oldest first. */
  pulse = $state.raw<SpeedSample[]>([]);

  /** Whether the list shows a row; nothing while it shows all of them. */
  readonly #wanted = $derived.by(() => {
    const query = this.search.trim().toLowerCase();
    const { filter } = this;
    const hidden = this.#hidden;
    if (filter === 'all' && !query && hidden.size === 0) return null;
    const name = (id: string) => services.name(id);
    return (transfer: Transfer) =>
      (filter === 'all' || tabOf(transfer) === filter) &&
      !hidden.has(transfer.id) &&
      (!query || matches(transfer, query, name));
  });

  /** What the list shows: filtered and searched. */
  readonly shown: Transfer[] = $derived.by(() => {
    const wanted = this.#wanted;
    if (wanted === null) return this.list;
    void this.revision;
    return this.list.filter(wanted);
  });

  /** The first of the queue, where the list stands in its order. */
  readonly next: TransferId | null = $derived.by(() => {
    if (this.#order !== 'queue' || this.totals.waiting === 0) return null;
    void this.revision;
    return this.list.find((transfer) => transfer.state.is === 'queued')?.id ?? null;
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

  /**
   * Which of these came onto the list since then. A file that was on its way already goes on in its row, with what has
   * arrived of it: taking back a drop must not take that. A row that has not been told of yet is new.
   */
  addedSince(ids: readonly TransferId[], then: number): TransferId[] {
    return ids.filter((id) => (this.#rows.get(id)?.added_at ?? then) >= then);
  }

  /** Whether it is among those that are shown. */
  shows(id: TransferId): boolean {
    void this.list;
    void this.revision;
    const transfer = this.#rows.get(id);
    return transfer !== undefined && (this.#wanted?.(transfer) ?? true);
  }

  /** Everything anew, from a snapshot. */
  reset(all: Transfer[]) {
    this.#rows = new Map();
    for (const transfer of all) this.#rows.set(transfer.id, transfer);
    this.list = all.toSorted(orders[this.#order].compare);
    this.loaded = true;
    this.#hidden = new Set([...this.#hidden].filter((id) => this.#rows.has(id)));
    this.#count(Date.now());
  }

  /** What changed since. Answers which transfers came into another state. */
  apply(changed: Transfer[], removed: TransferId[], now = Date.now()): Turn[] {
    const turns: Turn[] = [];
    const moved = new Map<TransferId, Transfer>();
    const { compare } = orders[this.#order];
    for (const transfer of changed) {
      const before = this.#rows.get(transfer.id);
      if (before && before.state.is !== transfer.state.is) turns.push({ transfer, before: before.state.is });
      // Only what sorts differently has to find a new place; at five changes a second in 100,000 rows this matters.
      const place = before && compare(before, transfer) === 0 ? placeOf(this.list, before, compare) : -1;
      if (place < 0) moved.set(transfer.id, transfer);
      else this.list[place] = transfer;
      this.#rows.set(transfer.id, transfer);
      if (before) this.#add(before, -1);
      this.#add(transfer, 1);
    }
    const gone = new Set<TransferId>();
    for (const id of removed) {
      const before = this.#rows.get(id);
      if (!before) continue;
      this.#add(before, -1);
      this.#rows.delete(id);
      gone.add(id);
    }
    if (moved.size > 0 || gone.size > 0) this.list = merged(this.list, moved, gone, compare);
    else this.revision += 1;
    if (gone.size > 0) this.#unhide(gone);
    if (midnightOf(now) === this.#midnight) this.#tell(now);
    else this.#count(now);
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

  /** Counts every row. */
  #count(now: number) {
    this.#midnight = midnightOf(now);
    this.#sums = { counts: { ...NO_COUNTS }, totals: { ...NO_TOTALS }, today: { ...NO_DAY } };
    for (const transfer of this.#rows.values()) this.#add(transfer, 1);
    this.#tell(now);
  }

  /** Adds a row to the counts, or takes it out of them. */
  #add(transfer: Transfer, sign: 1 | -1) {
    if (this.#hidden.has(transfer.id)) return;
    const { counts, totals, today } = this.#sums;
    counts.all += sign;
    counts[tabOf(transfer)] += sign;
    const { is } = transfer.state;
    if (is === 'running' || is === 'verifying') {
      totals[transfer.wait ? 'waiting' : 'running'] += sign;
      totals[transfer.kind === 'upload' ? 'up' : 'down'] += sign * (transfer.speed ?? 0);
    } else if (cameSince(transfer, this.#midnight)) {
      today.files += sign;
      today[transfer.kind === 'upload' ? 'up' : 'down'] += sign * transfer.bytes;
    } else if (is === 'queued') totals.waiting += sign;
    else if (is === 'paused') totals.paused += sign;
    if (transfer.wait?.reason === 'network') totals.offline += sign;
  }

  #tell(now: number) {
    const { counts, totals, today } = this.#sums;
    this.counts = { ...counts };
    this.totals = { ...totals };
    this.today = { ...today };
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

/** Where a row stands in the ordered list; -1 if it is not where the order puts it. */
function placeOf(list: Transfer[], row: Transfer, compare: (a: Transfer, b: Transfer) => number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = list[middle];
    if (other && compare(other, row) < 0) low = middle + 1;
    else high = middle;
  }
  return list[low]?.id === row.id ? low : -1;
}

/** The ordered list with some rows put in anew and some taken out. */
function merged(
  list: Transfer[],
  moved: ReadonlyMap<TransferId, Transfer>,
  gone: ReadonlySet<TransferId>,
  compare: (a: Transfer, b: Transfer) => number,
): Transfer[] {
  const incoming = [...moved.values()].filter((transfer) => !gone.has(transfer.id)).sort(compare);
  const result: Transfer[] = [];
  let next = 0;
  for (const row of list) {
    if (gone.has(row.id) || moved.has(row.id)) continue;
    for (let first = incoming[next]; first && compare(first, row) < 0; first = incoming[next]) {
      result.push(first);
      next += 1;
    }
    result.push(row);
  }
  return result.concat(incoming.slice(next));
}

export const transfers = new Transfers();
