import * as ipc from '../engine/ipc';
import { services } from '../services/services.svelte';
import { failure } from '../words/describe';
import * as add from './add';
import type { PathSummary, ServiceStatus } from '../engine/types';

/** A drag that began here is over by then, in milliseconds. Nothing tells when it ends over another program. */
const LONGEST_DRAG = 60_000;

/** Files held over the window: what they are, and which service they would go to if let go now. */
class Dropping {
  paths = $state.raw<string[] | null>(null);
  summary = $state.raw<PathSummary | null>(null);
  /** Why nothing of it can be sent, if that is known. */
  trouble = $state.raw<string | null>(null);
  /** Service under the pointer. */
  over = $state<string | null>(null);
  /** Links are held over the window, as a browser gives them. */
  #links = false;
  /** What is being dragged out of this very window. */
  #own: { paths: ReadonlySet<string>; until: number } | null = null;

  /** Where files go that are dropped anywhere. */
  get main(): ServiceStatus | undefined {
    return services.receiving;
  }

  handle(drop: ipc.Drop) {
    if (drop.type === 'leave' || this.#isOwn(drop.paths)) {
      this.#end();
      return;
    }
    if (drop.paths.length > 0) this.#links = drop.paths.every((path) => /^https?:\/\//i.test(path));
    if (this.#links) {
      if (drop.type === 'drop') this.takeText(drop.paths.join('\n'));
      return;
    }
    if (drop.type === 'enter' || this.paths === null) this.#begin(drop.paths);
    this.over = zoneAt(drop.x, drop.y) ?? this.main?.id ?? null;
    if (drop.type !== 'drop') return;
    const service = this.over;
    this.#end();
    if (service !== null && drop.paths.length > 0) void add.upload(drop.paths, service);
  }

  /** Finished files leave the window. Let go over it after all they are not to be sent. */
  leaves(paths: string[]) {
    this.#own = { paths: new Set(paths), until: Date.now() + LONGEST_DRAG };
    const back = (event: PointerEvent) => {
      // The pointer is the page's again: the drag is over.
      if (event.buttons !== 0) return;
      this.#own = null;
      window.removeEventListener('pointermove', back);
    };
    window.addEventListener('pointermove', back);
  }

  #isOwn(paths: string[]): boolean {
    const own = this.#own;
    return own !== null && Date.now() < own.until && paths.length > 0 && paths.every((path) => own.paths.has(path));
  }

  /** Text or a link let go on the window is read like one that was pasted. */
  takeText(text: string) {
    // In a list of links, such a line is a remark.
    const lines = text.split(/\r?\n/).filter((line) => !line.startsWith('#'));
    void add.take(lines.join('\n'));
  }

  #begin(paths: string[]) {
    this.paths = paths;
    this.summary = null;
    this.trouble = null;
    ipc.summarise(paths).then(
      (summary) => {
        if (this.paths === paths) this.summary = summary;
      },
      (error: unknown) => {
        if (this.paths === paths) this.trouble = failure(ipc.asFailure(error)).title;
      },
    );
  }

  #end() {
    this.paths = null;
    this.summary = null;
    this.trouble = null;
    this.over = null;
  }
}

function zoneAt(x: number, y: number): string | null {
  for (const element of document.elementsFromPoint(x, y)) {
    const zone = element.closest<HTMLElement>('[data-drop-service]');
    if (zone) return zone.dataset.dropService ?? null;
  }
  return null;
}

export const dropping = new Dropping();
