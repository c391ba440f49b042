import { asFailure } from '../engine/ipc';
import { failure, withoutTitle } from '../words/describe';

export interface Toast {
  id: number;
  tone: 'plain' | 'ok' | 'bad';
  text: string;
  detail?: string;
  action?: { label: string; run: () => void };
  /** Called once when the toast goes without its action having been taken. */
  onGone?: () => void;
}

const LIFETIME = 6_000;
const FAILURE_LIFETIME = 12_000;
const MOST = 3;

/** Short messages at the foot of the window, each with at most one thing to do. */
class Toasts {
  all = $state.raw<Toast[]>([]);
  #next = 1;
  #timers = new Map<number, ReturnType<typeof setTimeout>>();

  show(toast: Omit<Toast, 'id' | 'tone'> & { tone?: Toast['tone'] }): number {
    const id = this.#next++;
    const tone = toast.tone ?? 'plain';
    // The same words twice in a row say nothing new.
    const twin = this.all.find((other) => other.text === toast.text && !other.action && !toast.action);
    if (twin) this.dismiss(twin.id);
    this.all = [...this.all, { ...toast, tone, id }];
    this.#restart(id, tone);
    while (this.all.length > MOST && this.all[0]) this.dismiss(this.all[0].id);
    return id;
  }

  /** Says what went wrong and what to do about it. */
  fail(error: unknown) {
    const told = failure(asFailure(error));
    this.show({ tone: 'bad', text: told.title, detail: withoutTitle(told) });
  }

  act(id: number) {
    const toast = this.#take(id);
    toast?.action?.run();
  }

  dismiss(id: number) {
    this.#take(id)?.onGone?.();
  }

  /** Keeps everything on the screen while the pointer or the focus is there. */
  hold() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  release() {
    for (const toast of this.all) this.#restart(toast.id, toast.tone);
  }

  #restart(id: number, tone: Toast['tone']) {
    clearTimeout(this.#timers.get(id));
    this.#timers.set(
      id,
      setTimeout(() => this.dismiss(id), tone === 'bad' ? FAILURE_LIFETIME : LIFETIME),
    );
  }

  #take(id: number): Toast | undefined {
    const toast = this.all.find((other) => other.id === id);
    this.all = this.all.filter((other) => other.id !== id);
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    return toast;
  }
}

export const toasts = new Toasts();
