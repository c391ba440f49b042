import type { TransferId } from './types';

/** What is selected in the list of transfers, where the cursor stands and which row is open. */
export class Selection {
  ids = $state.raw<ReadonlySet<TransferId>>(new Set());
  cursor = $state<TransferId | null>(null);
  opened = $state<TransferId | null>(null);
  #anchor: TransferId | null = null;

  /** Selects just this one. */
  only(id: TransferId) {
    this.ids = new Set([id]);
    this.cursor = id;
    this.#anchor = id;
  }

  toggle(id: TransferId) {
    const next = new Set(this.ids);
    if (!next.delete(id)) next.add(id);
    this.ids = next;
    this.cursor = id;
    this.#anchor = id;
  }

  /** Everything between the last single choice and this one, in the order of the list. */
  extend(id: TransferId, order: readonly { id: TransferId }[]) {
    const from = order.findIndex((row) => row.id === (this.#anchor ?? this.cursor ?? id));
    const to = order.findIndex((row) => row.id === id);
    if (from < 0 || to < 0) {
      this.only(id);
      return;
    }
    this.ids = new Set(order.slice(Math.min(from, to), Math.max(from, to) + 1).map((row) => row.id));
    this.cursor = id;
  }

  all(order: readonly { id: TransferId }[]) {
    this.ids = new Set(order.map((row) => row.id));
  }

  clear() {
    this.ids = new Set();
    this.#anchor = null;
  }

  toggleOpen(id: TransferId) {
    this.opened = this.opened === id ? null : id;
  }

  /** The selected ones, or the one under the cursor if none is. */
  get targets(): TransferId[] {
    if (this.ids.size > 0) return [...this.ids];
    return this.cursor === null ? [] : [this.cursor];
  }
}

export const selection = new Selection();
