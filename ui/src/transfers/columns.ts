/** The tabs and the orders of the list, by name. The engine groups and sorts. */
import { m } from '../paraglide/messages.js';
import type { Filter, Order } from '../engine/types';

export const filters: { id: Filter; label: () => string }[] = [
  { id: 'all', label: m.filter_all },
  { id: 'active', label: m.filter_active },
  { id: 'done', label: m.filter_done },
  { id: 'attention', label: m.filter_attention },
];

export const orders: { id: Order; label: () => string }[] = [
  { id: 'queue', label: m.sort_queue },
  { id: 'newest', label: m.sort_newest },
  { id: 'name', label: m.sort_name },
  { id: 'size', label: m.sort_size },
  { id: 'state', label: m.sort_state },
];
