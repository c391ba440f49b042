import { announcer } from './announcer.svelte';
import * as ipc from './ipc';
import { say, sentences } from './phrases';
import { services } from './services.svelte';
import { settings } from './settings.svelte';
import { toasts } from './toasts.svelte';
import { transfers } from './transfers.svelte';
import type { Changes, Failure, Snapshot, Transfer } from './types';

/**
 * Keeps the window in step with the engine: one snapshot, of a long list in portions, then changes; a gap in their numbers
 * asks for a new snapshot.
 */
export class Session {
  /** Why the engine does not answer, if it does not. */
  trouble = $state.raw<Failure | null>(null);
  #revision = -1;
  #loading = false;
  #missed: Changes[] = [];
  #told = false;
  #unlisten: ipc.Unlisten | undefined;

  async start(): Promise<void> {
    // Listening comes first: what changes while the snapshot is under way must not fall between the two.
    this.#loading = true;
    try {
      this.#unlisten ??= await ipc.onChanges((changes) => this.#receive(changes));
    } catch (error) {
      this.trouble = ipc.asFailure(error);
      this.#loading = false;
      return;
    }
    await this.#load();
  }

  stop() {
    this.#unlisten?.();
    this.#unlisten = undefined;
  }

  #receive(changes: Changes) {
    if (this.#loading) {
      this.#missed.push(changes);
      return;
    }
    if (changes.revision <= this.#revision) return;
    if (changes.revision !== this.#revision + 1) {
      this.#missed = [changes];
      void this.#load();
      return;
    }
    this.#revision = changes.revision;
    announcer.note(transfers.apply(changes.changed, changes.removed));
    if (changes.services) services.set(changes.services);
  }

  async #load(): Promise<void> {
    this.#loading = true;
    let isWhole: () => void = () => undefined;
    try {
      const snapshot = await ipc.snapshot();
      if (snapshot.more) transfers.whole = new Promise((resolve) => (isWhole = resolve));
      // The first rows are shown at once, but a list that is on the screen does not shrink to them.
      if (!snapshot.more || !transfers.loaded) this.#accept(snapshot);
      if (snapshot.more) this.#accept({ ...snapshot, transfers: await wholeList() });
      this.trouble = null;
    } catch (error) {
      this.trouble = ipc.asFailure(error);
    } finally {
      this.#loading = false;
    }
    const missed = this.#missed;
    this.#missed = [];
    if (this.trouble === null) missed.forEach((changes) => this.#receive(changes));
    isWhole();
  }

  #accept(snapshot: Snapshot) {
    this.#revision = snapshot.revision;
    services.set(snapshot.services);
    settings.set(snapshot.settings, snapshot.downloads_folder);
    transfers.reset(snapshot.transfers);
    if (!this.#told) snapshot.notices.forEach((notice) => toasts.show({ text: sentences([say(notice)]) }));
    this.#told = true;
  }
}

/**
 * The whole list. It is asked for in portions, so that the window can be used meanwhile. What changes in between is in
 * the changes, which are applied afterwards.
 */
async function wholeList(): Promise<Transfer[]> {
  const all: Transfer[] = [];
  for (let last = 0; ;) {
    const portion = await ipc.transfersAfter(last);
    const end = portion.at(-1);
    if (!end) return all;
    all.push(...portion);
    last = end.id;
  }
}

export const session = new Session();
