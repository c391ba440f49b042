/** What the tests' engine does with its list: filters, searches, sorts, counts, and tells a window what it sees of it. */
import type {
  Can,
  Counts,
  Endings,
  Filter,
  Hidden,
  Hour,
  Listing,
  Look,
  Order,
  Today,
  Totals,
  Transfer,
  TransferId,
  Where,
} from '../src/engine/types';

type Compare = (a: Transfer, b: Transfer) => number;

const is = (...states: Transfer['state']['is'][]) => {
  const wanted = new Set(states);
  return ({ state }: Transfer) => wanted.has(state.is);
};
const isOver = is('completed', 'canceled');

const abilities: Record<Can, (row: Transfer) => boolean> = {
  pause: is('queued', 'running', 'verifying'),
  resume: is('paused'),
  retry: is('failed', 'canceled'),
  cancel: is('queued', 'running', 'verifying', 'paused'),
  reorder: (row) => !isOver(row),
  drag_out: ({ state, path }) => state.is === 'completed' && path !== undefined,
  clear: isOver,
};

/** The tab that a transfer belongs to; every transfer belongs to exactly one besides "All". */
function tabOf({ state, wait }: Transfer): Exclude<Filter, 'all'> {
  if (state.is === 'failed' || wait?.reason === 'key' || wait?.reason === 'quota' || wait?.reason === 'space')
    return 'attention';
  return state.is === 'completed' || state.is === 'canceled' ? 'done' : 'active';
}

/** What still has to be done in the order of the queue, then what is done, newest first. */
const inQueueOrder: Compare = (a, b) => {
  const over = Number(isOver(a)) - Number(isOver(b));
  if (over !== 0) return over;
  if (isOver(a)) return (b.ended_at ?? b.added_at) - (a.ended_at ?? a.added_at) || b.id - a.id;
  return a.position - b.position || a.id - b.id;
};

const stateRank = { failed: 0, running: 1, verifying: 1, paused: 2, queued: 3, completed: 4, canceled: 5 } as const;

function comparing(order: Order, locale: string): Compare {
  const names = new Intl.Collator(locale, { numeric: true, sensitivity: 'base' });
  const orders: Record<Order, Compare> = {
    queue: inQueueOrder,
    newest: (a, b) => b.added_at - a.added_at || b.id - a.id,
    name: (a, b) => names.compare(a.name, b.name) || a.id - b.id,
    size: (a, b) => (b.total ?? b.bytes) - (a.total ?? a.bytes) || a.id - b.id,
    state: (a, b) => stateRank[a.state.is] - stateRank[b.state.is] || inQueueOrder(a, b),
  };
  return orders[order];
}

/** Completed since then by bytes that moved, not by what the service still had. */
const cameSince = ({ state, ended_at, note }: Transfer, then: number) =>
  state.is === 'completed' && (ended_at ?? 0) >= then && !(typeof note === 'object' && note.is === 'sent_before');

const NONE: Endings = { completed: 0, completed_name: null, failed: 0, failed_name: null, failure: null };

const FIRST: Look = {
  filter: 'all',
  search: '',
  order: 'queue',
  locale: 'en',
  midnight: new Date().setHours(0, 0, 0, 0),
  from: 0,
  count: 1_000,
  cursor: null,
};

export class FakeListing {
  revision = 0;
  #rows = new Map<TransferId, Transfer>();
  #hidden = new Set<TransferId>();
  #look = FIRST;
  #compare = comparing(FIRST.order, FIRST.locale);
  /** Rows that are shown, until one of them comes, goes or moves. */
  #shown: TransferId[] | null = null;
  /** What is counted, until a row changes: a window that scrolls asks often. */
  #counted: Pick<Listing, 'counts' | 'totals' | 'today' | 'next'> | null = null;
  /** The window has not been told of these as they are now. */
  #news = new Set<TransferId>();
  /** What the window has in sight. */
  #sight = new Set<TransferId>();
  #ended = NONE;

  constructor(
    rows: Transfer[],
    private readonly nameOf: (service: string) => string,
  ) {
    for (const row of rows) this.#rows.set(row.id, row);
  }

  get all(): Transfer[] {
    return [...this.#rows.values()];
  }

  get(id: TransferId): Transfer | undefined {
    return this.#rows.get(id);
  }

  put(row: Transfer) {
    const before = this.#rows.get(row.id);
    const wasSent = typeof row.note === 'object' && row.note.is === 'sent_before';
    if (!before || this.#shows(before) !== this.#shows(row) || this.#compare(before, row) !== 0) this.#shown = null;
    this.#counted = null;
    this.#rows.set(row.id, row);
    this.#news.add(row.id);
    if (wasSent || before?.state.is === row.state.is) return;
    const ended = { ...this.#ended };
    if (row.state.is === 'completed') {
      ended.completed += 1;
      ended.completed_name ??= row.name;
    } else if (row.state.is === 'failed') {
      ended.failed += 1;
      ended.failed_name ??= row.name;
      ended.failure ??= row.state;
    }
    this.#ended = ended;
  }

  delete(id: TransferId) {
    this.#rows.delete(id);
    this.#hidden.delete(id);
    this.#forget();
  }

  hide(ids: TransferId[]): Hidden {
    const going = ids.filter((id) => this.#rows.has(id) && !this.#hidden.has(id));
    const asked = new Set(ids);
    const shown = this.#inOrder();
    const last = shown.findLastIndex((id) => asked.has(id));
    const next = last < 0 ? null : (shown[last + 1] ?? shown.findLast((id) => !asked.has(id)) ?? null);
    going.forEach((id) => this.#hidden.add(id));
    this.#forget();
    return { ids: going, paused: this.which(going, 'pause'), next };
  }

  /** For a page that was loaded anew. */
  showAll() {
    this.unhide([...this.#hidden]);
  }

  unhide(ids: TransferId[]) {
    ids.forEach((id) => this.#hidden.delete(id));
    this.#forget();
  }

  /** The answer to a look. */
  look(look: Look): Listing {
    const kept: (keyof Look)[] = ['filter', 'search', 'order', 'locale', 'midnight'];
    const before = this.#look;
    if (kept.some((key) => before[key] !== look[key])) this.#forget();
    this.#look = look;
    this.#compare = comparing(look.order, look.locale);
    this.#sight.clear();
    return this.tell();
  }

  /** What changed since. */
  tell(): Listing {
    const { from, count, cursor, order } = this.#look;
    const shown = this.#inOrder();
    const ids = shown.slice(from, from + count);
    const rows = ids
      .filter((id) => this.#news.has(id) || !this.#sight.has(id))
      .flatMap((id) => this.#rows.get(id) ?? []);
    this.#sight = new Set(ids);
    this.#news.clear();
    const place = cursor === null ? -1 : shown.indexOf(cursor);
    const over = shown.findIndex((id) => isOver(this.#at(id)));
    this.revision += 1;
    return {
      revision: this.revision,
      length: shown.length,
      movable: order !== 'queue' ? 0 : over < 0 ? shown.length : over,
      ...(this.#counted ??= this.#count()),
      cursor: place < 0 ? null : place,
      from,
      ids,
      rows,
    };
  }

  ended(): Endings {
    const ended = this.#ended;
    this.#ended = NONE;
    return ended;
  }

  which(ids: TransferId[] | null, can: Can): TransferId[] {
    return (ids ?? [...this.#rows.keys()]).filter((id) => {
      const row = this.#rows.get(id);
      return row !== undefined && (ids !== null || !this.#hidden.has(id)) && abilities[can](row);
    });
  }

  between(from: TransferId | null, to: TransferId | null): TransferId[] {
    const shown = this.#inOrder();
    const one = from === null ? 0 : shown.indexOf(from);
    const other = to === null ? shown.length - 1 : shown.indexOf(to);
    return one < 0 || other < 0 ? [] : shown.slice(Math.min(one, other), Math.max(one, other) + 1);
  }

  move(ids: TransferId[], to: Where) {
    const { rest, chosen, queue } = this.#queue(ids);
    const first = queue.findIndex((id) => chosen.includes(id));
    if (to === 'front') this.#place(chosen, rest, 0);
    else if (to === 'up') this.#place(chosen, rest, Math.max(0, first - 1));
    else {
      const below = queue.findLastIndex((id) => chosen.includes(id)) + 1;
      this.#place(chosen, rest, Math.min(rest.length, below - chosen.length + 1));
    }
  }

  moveBehind(ids: TransferId[], above: TransferId | null) {
    const { rest, chosen, queue } = this.#queue(ids);
    // A chosen row stays where it is: what counts is the last one above the gap that does.
    const anchor = queue.slice(0, above === null ? 0 : queue.indexOf(above) + 1).findLast((id) => !chosen.includes(id));
    this.#place(chosen, rest, anchor === undefined ? 0 : rest.indexOf(anchor) + 1);
  }

  day(hours: number[]): Hour[] {
    return hours.map((begin, index) => {
      const end = hours[index + 1] ?? Infinity;
      const sum = { down: 0, up: 0 };
      for (const row of this.#rows.values())
        if (cameSince(row, begin) && (row.ended_at ?? 0) < end && !this.#hidden.has(row.id))
          sum[row.kind === 'upload' ? 'up' : 'down'] += row.bytes;
      return sum;
    });
  }

  #forget() {
    this.#shown = null;
    this.#counted = null;
  }

  #at(id: TransferId): Transfer {
    const row = this.#rows.get(id);
    if (!row) throw new Error(`There is no transfer ${id}`);
    return row;
  }

  #shows(row: Transfer): boolean {
    const { filter, search } = this.#look;
    const query = search.trim().toLowerCase();
    return (
      !this.#hidden.has(row.id) &&
      (filter === 'all' || tabOf(row) === filter) &&
      (query === '' ||
        [row.name, this.nameOf(row.service), row.asset_id, row.host].some((text) =>
          text?.toLowerCase().includes(query),
        ))
    );
  }

  #inOrder(): TransferId[] {
    this.#shown ??= this.all
      .filter((row) => this.#shows(row))
      .sort(this.#compare)
      .map((row) => row.id);
    return this.#shown;
  }

  #queue(ids: TransferId[]) {
    const queue = this.all
      .filter(abilities.reorder)
      .sort(inQueueOrder)
      .map((row) => row.id);
    const wanted = new Set(ids);
    return { queue, chosen: queue.filter((id) => wanted.has(id)), rest: queue.filter((id) => !wanted.has(id)) };
  }

  /** Puts these behind so many of the others. */
  #place(chosen: TransferId[], rest: TransferId[], at: number) {
    const position = (id: TransferId | undefined) => (id === undefined ? undefined : this.#at(id).position);
    const high = position(rest[at]);
    const low = position(rest[at - 1]) ?? (high ?? 0) - 1;
    const step = ((high ?? low + 1) - low) / (chosen.length + 1);
    chosen.forEach((id, index) => this.put({ ...this.#at(id), position: low + step * (index + 1) }));
  }

  #count() {
    const { midnight } = this.#look;
    let next: Transfer | null = null;
    const counts: Counts = { all: 0, active: 0, done: 0, attention: 0 };
    const totals: Totals = { down: 0, up: 0, running: 0, waiting: 0, paused: 0, offline: 0 };
    const today: Today = { files: 0, down: 0, up: 0 };
    for (const row of this.#rows.values()) {
      if (this.#hidden.has(row.id)) continue;
      const way = row.kind === 'upload' ? 'up' : 'down';
      counts.all += 1;
      counts[tabOf(row)] += 1;
      if (row.state.is === 'running' || row.state.is === 'verifying') {
        totals[row.wait ? 'waiting' : 'running'] += 1;
        totals[way] += row.speed ?? 0;
      } else if (cameSince(row, midnight)) {
        today.files += 1;
        today[way] += row.bytes;
      } else if (row.state.is === 'queued') totals.waiting += 1;
      else if (row.state.is === 'paused') totals.paused += 1;
      if (row.state.is === 'queued' && (next === null || inQueueOrder(row, next) < 0)) next = row;
      if (row.wait?.reason === 'network') totals.offline += 1;
    }
    return { counts, totals, today, next: next?.id ?? null };
  }
}
