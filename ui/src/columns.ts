/** How transfers are grouped into tabs and put in order. A new tab or order is one entry here. */
import { m } from './paraglide/messages.js';
import type { Transfer } from './types';

export type Filter = 'all' | 'active' | 'done' | 'attention';
export type Order = 'queue' | 'newest' | 'name' | 'size' | 'state';

/** The tab that a transfer belongs to; every transfer belongs to exactly one besides "All". */
export function tabOf(transfer: Transfer): Exclude<Filter, 'all'> {
  switch (transfer.state.is) {
    case 'completed':
    case 'canceled':
      return 'done';
    case 'failed':
      return 'attention';
    default:
      return transfer.wait?.reason === 'key' || transfer.wait?.reason === 'space' ? 'attention' : 'active';
  }
}

export const filters: { id: Filter; label: () => string }[] = [
  { id: 'all', label: m.filter_all },
  { id: 'active', label: m.filter_active },
  { id: 'done', label: m.filter_done },
  { id: 'attention', label: m.filter_attention },
];

type Compare = (a: Transfer, b: Transfer) => number;

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
const isOver = (transfer: Transfer) => transfer.state.is === 'completed' || transfer.state.is === 'canceled';

/** What still has to be done in the order of the queue, then what is done, newest first. */
const inQueueOrder: Compare = (a, b) => {
  const over = Number(isOver(a)) - Number(isOver(b));
  if (over !== 0) return over;
  if (isOver(a)) return (b.ended_at ?? b.added_at) - (a.ended_at ?? a.added_at) || b.id - a.id;
  return a.position - b.position || a.id - b.id;
};

const stateRank = { failed: 0, running: 1, verifying: 1, paused: 2, queued: 3, completed: 4, canceled: 5 } as const;

export const orders: Record<Order, { label: () => string; compare: Compare }> = {
  queue: { label: m.sort_queue, compare: inQueueOrder },
  newest: { label: m.sort_newest, compare: (a, b) => b.added_at - a.added_at || b.id - a.id },
  name: { label: m.sort_name, compare: (a, b) => collator.compare(a.name, b.name) || a.id - b.id },
  size: { label: m.sort_size, compare: (a, b) => (b.total ?? b.bytes) - (a.total ?? a.bytes) || a.id - b.id },
  state: {
    label: m.sort_state,
    compare: (a, b) => stateRank[a.state.is] - stateRank[b.state.is] || inQueueOrder(a, b),
  },
};

/** Whether a transfer matches what was typed into the search, already in lower case. */
export function matches(transfer: Transfer, query: string, serviceName: (id: string) => string): boolean {
  return (
    transfer.name.toLowerCase().includes(query) ||
    serviceName(transfer.service).toLowerCase().includes(query) ||
    (transfer.asset_id?.toLowerCase().includes(query) ?? false) ||
    (transfer.host?.toLowerCase().includes(query) ?? false)
  );
}
