import * as ipc from '../engine/ipc';
import { settings } from '../engine/settings.svelte';
import { library } from '../library/library.svelte';
import { services } from '../services/services.svelte';
import { transfers } from '../transfers/transfers.svelte';
import { announcer } from '../window/announcer.svelte';
import { toasts } from '../window/toasts.svelte';
import { say, sentences } from '../words/phrases';
import type { Failure, ListChanges, Listing, Look, ServiceStatus, Settings } from '../engine/types';

/**
 * Keeps the window in step with the engine: it opens the list, asks for what it wants to see of it, and is told what
 * changes there. Answers and messages are counted together; after a gap the list is opened anew.
 */
export class Session {
  /** Why the engine does not answer, if it does not. */
  trouble = $state.raw<Failure | null>(null);
  #revision = -1;
  #servicesRevision = -1;
  #settingsRevision = -1;
  #opened = false;
  #asking: Promise<void> | null = null;
  /** What was told while an answer was under way. */
  #aside: Listing[] = [];
  #noticed = false;
  #unlisten: ipc.Unlisten | undefined;

  async start(): Promise<void> {
    // Listening comes first: what changes while the answer is under way must not fall between the two.
    try {
      this.#unlisten ??= await ipc.onChanges((changes) => this.#hear(changes));
    } catch (error) {
      this.trouble = ipc.asFailure(error);
      return;
    }
    // Where there is trouble, the user decides when to try again.
    transfers.ask = () => (this.trouble === null ? this.#ask() : Promise.resolve());
    await this.#ask();
  }

  stop() {
    this.#unlisten?.();
    this.#unlisten = undefined;
  }

  #hear({ list, ended, services: told, settings: changed, downloads_folder, library: shelved }: ListChanges) {
    announcer.note(ended);
    if (shelved) library.tell(shelved);
    if (told) this.#tell(list.revision, told);
    if (changed) this.#tellSettings(list.revision, changed, downloads_folder ?? undefined);
    if (this.#asking) this.#aside.push(list);
    else this.#receive(list);
  }

  /** An answer to a look says nothing of the services: what was told of them before it counts all the same. */
  #tell(revision: number, told: ServiceStatus[]) {
    if (revision < this.#servicesRevision) return;
    this.#servicesRevision = revision;
    services.set(told);
  }

  #tellSettings(revision: number, changed: Settings, downloadsFolder?: string) {
    if (revision < this.#settingsRevision) return;
    this.#settingsRevision = revision;
    settings.set(changed, downloadsFolder);
  }

  #receive(list: Listing) {
    if (this.trouble !== null) return;
    if (this.#opened && list.revision <= this.#revision) return;
    if (this.#opened && list.revision === this.#revision + 1) {
      this.#show(list);
      return;
    }
    this.#opened = false;
    void this.#ask();
  }

  #show(list: Listing, look?: Look) {
    this.#revision = list.revision;
    transfers.show(list, look);
  }

  /** One question at a time. What is wanted meanwhile is asked for afterwards, and of that only the last. */
  #ask(): Promise<void> {
    this.#asking ??= this.#answer();
    return this.#asking;
  }

  async #answer(): Promise<void> {
    try {
      let look;
      do {
        look = transfers.wish;
        if (this.#opened) this.#show(await ipc.look(look), look);
        else await this.#open(look);
      } while (look !== transfers.wish);
      this.trouble = null;
    } catch (error) {
      this.#opened = false;
      this.trouble = ipc.asFailure(error);
    }
    this.#asking = null;
    const aside = this.#aside;
    this.#aside = [];
    if (this.#opened) aside.forEach((list) => this.#receive(list));
  }

  async #open(look: Look): Promise<void> {
    const opening = await ipc.open(look, !this.#noticed);
    this.#tell(opening.list.revision, opening.services);
    this.#tellSettings(opening.list.revision, opening.settings, opening.downloads_folder);
    this.#show(opening.list, look);
    if (!this.#noticed) opening.notices.forEach((notice) => toasts.show({ text: sentences([say(notice)]) }));
    this.#noticed = true;
    this.#opened = true;
    // What was told of it before may have been missed as well.
    void library.load();
  }
}

export const session = new Session();
