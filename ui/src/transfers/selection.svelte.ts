import { transfers } from './transfers.svelte';
import type { TransferId } from '../engine/types';

/** What is selected in the list of transfers, where the cursor stands and which row is open. */
export class Selection {
  ids = $state.raw<ReadonlySet<TransferId>>(new Set());
  opened = $state<TransferId | null>(null);
  #cursor = $state<TransferId | null>(null);
  #anchor: TransferId | null = null;

  get cursor(): TransferId | null {
    return this.#cursor;
  }

  set cursor(id: TransferId | null) {
    this.#cursor = id;
    transfers.cursor = id;
  }

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
  async extend(id: TransferId) {
    const range = await transfers.between(this.#anchor ?? this.cursor ?? id, id);
    if (range.length === 0) {
      this.only(id);
      return;
    }
    this.ids = new Set(range);
    this.cursor = id;
  }

  async all() {
    this.ids = new Set(await transfers.between(null, null));
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
