import * as ipc from '../engine/ipc';
import { toasts } from '../window/toasts.svelte';
import type { LinkOffer } from '../engine/types';

/** Between an answer and the next question, in milliseconds. */
const PAUSE = 600;

/** What a `ferry://` link from elsewhere proposes, until it is answered. */
class Links {
  offer = $state.raw<LinkOffer | null>(null);

  /** Asks what waits, now and whenever a link is opened. Answers what ends that. */
  follow(): () => void {
    void this.#look();
    const listening = ipc.onLink(() => void this.#look());
    listening.catch((error: unknown) => toasts.fail(error));
    return () => void listening.then((stop) => stop());
  }

  async #look() {
    try {
      this.offer = await ipc.linkOffer();
    } catch (error) {
      toasts.fail(error);
    }
  }

  /** By which service; `null` = not at all. */
  async answer(service: string | null): Promise<boolean> {
    const shown = this.offer?.shown;
    this.offer = null;
    if (shown === undefined) return false;
    try {
      return (await ipc.answerLink(shown, service)) !== null;
    } catch (error) {
      toasts.fail(error);
      return false;
    } finally {
      // Another link may wait. It is not asked about under the rest of a double click.
      setTimeout(() => void this.#look(), PAUSE);
    }
  }
}

export const links = new Links();
