import { SvelteMap } from 'svelte/reactivity';

import * as ipc from '../engine/ipc';
import type { TransferId } from '../engine/types';

/** Transfers whose file is not where it was when somebody last looked for it. */
class MissingFiles {
  #found = new SvelteMap<TransferId, { again: boolean }>();

  /** Whether it can be downloaded again, if it is missing. */
  of(id: TransferId): { again: boolean } | undefined {
    return this.#found.get(id);
  }

  async look(id: TransferId): Promise<void> {
    if (await ipc.fileThere(id)) this.#found.delete(id);
    else this.#found.set(id, { again: await ipc.canDownloadAgain(id) });
  }
}

export const missing = new MissingFiles();
