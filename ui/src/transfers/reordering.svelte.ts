import * as ipc from '../engine/ipc';
import { attempt } from '../window/attempt';
import * as actions from './actions';
import { dropping } from './dropping.svelte';
import { selection } from './selection.svelte';
import { transfers } from './transfers.svelte';
import type { Transfer, TransferId } from '../engine/types';

/** How far the pointer goes before a press becomes a drag, in pixels. */
const SLACK = 5;
/** This near to an edge of the list it scrolls, in pixels. */
const EDGE = 44;
/** Pixels a frame, at the edge itself. */
const FASTEST = 16;

/** The list under the pointer. */
interface List {
  element: HTMLElement;
  gapAt: (y: number) => number;
}

/** What would be dragged: rows to another place in the queue, or finished files to another program. */
interface Held {
  ids: TransferId[];
  paths: string[] | null;
}

interface Press {
  pointer: number;
  x: number;
  y: number;
  row: Transfer;
  begun: boolean;
}

/** Its file is there to be given to another program. */
const isFinished = ({ state, path }: Transfer) => state.is === 'completed' && path !== undefined;

/** The row that was pressed, or everything that is selected if it is. */
async function heldBy(row: Transfer): Promise<Held> {
  const out = isFinished(row);
  const several = selection.ids.size > 1 && selection.ids.has(row.id);
  const ids = several ? await ipc.which([...selection.ids], out ? 'drag_out' : 'reorder') : [row.id];
  if (!out) return { ids, paths: null };
  return { ids, paths: (several ? await ipc.rows(ids) : [row]).flatMap(({ path }) => path ?? []) };
}

/**
 * Rows of the queue on their way to another place. Pointer events, not the browser's own drag and drop: that one belongs
 * to the files that are dropped on the window.
 */
class Reordering {
  /** What is held. */
  ids = $state.raw<ReadonlySet<TransferId>>(new Set());
  /** The name of the row that was pressed. */
  name = $state('');
  /** Where it would go: the number of rows above. */
  gap = $state<number | null>(null);
  x = $state(0);
  y = $state(0);
  #list: List | null = null;
  #pressed: Press | null = null;
  #frame = 0;

  /** A press on a row, which may become a drag. */
  press(row: Transfer, event: PointerEvent, list: List) {
    const movable = transfers.order === 'queue' && actions.can.reorder(row);
    if (event.button !== 0 || event.pointerType === 'touch' || !(movable || isFinished(row))) return;
    this.#list = list;
    this.name = row.name;
    this.#pressed = { pointer: event.pointerId, x: event.clientX, y: event.clientY, row, begun: false };
    window.addEventListener('pointermove', this.#moved);
    window.addEventListener('pointerup', this.#released);
    window.addEventListener('pointercancel', this.#end);
    window.addEventListener('blur', this.#end);
  }

  readonly #moved = (event: PointerEvent) => {
    const pressed = this.#pressed;
    if (!pressed || event.pointerId !== pressed.pointer) return;
    this.x = event.clientX;
    this.y = event.clientY;
    if (this.gap !== null) this.#aim();
    else if (!pressed.begun && Math.hypot(this.x - pressed.x, this.y - pressed.y) >= SLACK) {
      pressed.begun = true;
      void attempt(() => this.#begin(pressed));
    }
  };

  async #begin(pressed: Press) {
    const { ids, paths } = await heldBy(pressed.row);
    // The pointer may be up again by now.
    if (pressed !== this.#pressed || ids.length === 0) return;
    if (paths) {
      // From here on the pointer is the system's: another program may take the files.
      this.#end();
      dropping.leaves(paths);
      await ipc.dragOut(ids);
      return;
    }
    this.ids = new Set(ids);
    this.#list?.element.setPointerCapture(pressed.pointer);
    window.addEventListener('keydown', this.#key, true);
    this.#scroll();
    this.#aim();
  }

  /** The gap under the pointer, among the rows that are still to be done: those stand first. */
  #aim() {
    if (!this.#list) return;
    this.gap = Math.min(transfers.list.movable, this.#list.gapAt(this.y));
  }

  #scroll() {
    this.#frame = requestAnimationFrame(() => {
      if (!this.#list) return;
      const { element } = this.#list;
      const box = element.getBoundingClientRect();
      const over = Math.max(0, this.y - (box.bottom - EDGE)) - Math.max(0, box.top + EDGE - this.y);
      if (over !== 0) {
        element.scrollTop += Math.max(-FASTEST, Math.min(FASTEST, (over / EDGE) * FASTEST));
        this.#aim();
      }
      this.#scroll();
    });
  }

  readonly #key = (event: KeyboardEvent) => {
    if (event.key !== 'Escape') return;
    event.preventDefault();
    event.stopPropagation();
    this.#end();
  };

  readonly #released = () => {
    const { gap } = this;
    const ids = [...this.ids];
    this.#end();
    if (gap === null) return;
    // The click that ends a drag is none.
    const swallow = (event: MouseEvent) => event.stopPropagation();
    window.addEventListener('click', swallow, { capture: true, once: true });
    setTimeout(() => window.removeEventListener('click', swallow, true));
    void attempt(async () => {
      const above = gap === 0 ? null : await transfers.idAt(gap - 1);
      // A list that became shorter meanwhile says nothing about where.
      if (gap === 0 || above !== null) await actions.moveBehind(ids, above);
    });
  };

  readonly #end = () => {
    cancelAnimationFrame(this.#frame);
    this.#pressed = null;
    this.#list = null;
    this.ids = new Set();
    this.gap = null;
    window.removeEventListener('pointermove', this.#moved);
    window.removeEventListener('pointerup', this.#released);
    window.removeEventListener('pointercancel', this.#end);
    window.removeEventListener('blur', this.#end);
    window.removeEventListener('keydown', this.#key, true);
  };
}

export const reordering = new Reordering();
