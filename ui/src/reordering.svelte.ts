import * as actions from './actions';
import { dropping } from './dropping.svelte';
import * as ipc from './ipc';
import { selection } from './selection.svelte';
import { transfers } from './transfers.svelte';
import type { Transfer, TransferId } from './types';

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

/** Its file is there to be given to another program. */
const isFinished = ({ state, path }: Transfer) => state.is === 'completed' && path !== undefined;

/**
 * Rows of the queue on their way to another place. Pointer events, not the browser's own drag and drop: that one belongs
 * to the files that are dropped on the window.
 */
class Reordering {
  /** What is held, in the order of the queue. */
  ids = $state.raw<ReadonlySet<TransferId>>(new Set());
  /** Where it would go: the number of rows above. */
  gap = $state<number | null>(null);
  x = $state(0);
  y = $state(0);
  #list: List | null = null;
  #pressed: { id: TransferId; pointer: number; x: number; y: number } | null = null;
  #frame = 0;

  get held(): Transfer[] {
    return actions.among([...this.ids]);
  }

  /** A press on a row, which may become a drag. */
  press(row: Transfer, event: PointerEvent, list: List) {
    const movable = transfers.order === 'queue' && actions.can.reorder(row);
    if (event.button !== 0 || event.pointerType === 'touch' || !(movable || isFinished(row))) return;
    this.#list = list;
    this.#pressed = { id: row.id, pointer: event.pointerId, x: event.clientX, y: event.clientY };
    window.addEventListener('pointermove', this.#moved);
    window.addEventListener('pointerup', this.#released);
    window.addEventListener('pointercancel', this.#end);
    window.addEventListener('blur', this.#end);
  }

  readonly #moved = (event: PointerEvent) => {
    const pressed = this.#pressed;
    if (!pressed || !this.#list || event.pointerId !== pressed.pointer) return;
    this.x = event.clientX;
    this.y = event.clientY;
    if (this.gap === null) {
      if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < SLACK) return;
      const several = selection.ids.has(pressed.id) ? [...selection.ids] : [pressed.id];
      const finished = actions.among(several, isFinished);
      if (actions.among([pressed.id], isFinished).length > 0) {
        // From here on the pointer is the system's: another program may take the files.
        this.#end();
        dropping.leaves(finished.flatMap((row) => row.path ?? []));
        void actions.attempt(() => ipc.dragOut(finished.map((row) => row.id)));
        return;
      }
      this.ids = new Set(actions.among(several, actions.can.reorder).map((row) => row.id));
      this.#list.element.setPointerCapture(pressed.pointer);
      window.addEventListener('keydown', this.#key, true);
      this.#scroll();
    }
    this.#aim();
  };

  /** The gap under the pointer, among the rows that are still to be done: those stand first. */
  #aim() {
    if (!this.#list) return;
    const movable = transfers.shown.findIndex((row) => !actions.can.reorder(row));
    const most = movable < 0 ? transfers.shown.length : movable;
    this.gap = Math.min(most, this.#list.gapAt(this.y));
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
    const above = gap === null || gap === 0 ? null : (transfers.shown[gap - 1]?.id ?? null);
    this.#end();
    if (gap === null) return;
    // The click that ends a drag is none.
    const swallow = (event: MouseEvent) => event.stopPropagation();
    window.addEventListener('click', swallow, { capture: true, once: true });
    setTimeout(() => window.removeEventListener('click', swallow, true));
    void actions.moveBehind(ids, above);
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
