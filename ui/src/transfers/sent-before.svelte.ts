import * as ipc from '../engine/ipc';
import type { AddedUploads, IfSent, SentBefore } from '../engine/types';

/** A comparison that takes longer than this is shown, in milliseconds. */
const LATE = 500;

export type Choice = Exclude<IfSent, 'ask'>;

/** Adds uploads, and asks once what becomes of those files that were sent to the service before. */
class BeforeSending {
  question = $state.raw<SentBefore | null>(null);
  /** The name of the service that files are being compared with, once that takes a while. */
  comparing = $state<string | null>(null);
  /** What was chosen before there was a question; `null` = to send nothing. */
  #early: Choice | null | undefined;
  #answer: ((choice: Choice | null) => void) | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** `null` = the user thought better of it. One after the other: there is one question at a time. */
  add(paths: string[], service: string | null, name: string): Promise<AddedUploads | null> {
    const added = this.#last.then(() => this.#add(paths, service, name));
    this.#last = added.catch(() => undefined);
    return added;
  }

  /** Answers the question, or ends the comparison before there is one; `null` = nothing is to be sent. */
  choose(choice: Choice | null) {
    if (this.#answer) this.#answer(choice);
    else if (this.comparing !== null) {
      this.#early = choice;
      // If it cannot be ended, it ends by itself.
      ipc.stopComparing().catch(() => undefined);
    }
  }

  async #add(paths: string[], service: string | null, name: string): Promise<AddedUploads | null> {
    const compared = await this.#compare(paths, service, name);
    const early = this.#early;
    if (compared && !compared.question) {
      if (early !== null) return compared;
      // They were added in the very moment when the user thought better of it.
      const { ended } = await ipc.takeBack(compared.new);
      return ended.length > 0 ? { ...compared, ids: ended, new: ended } : null;
    }
    const choice = early === undefined && compared?.question ? await this.#ask(compared.question) : (early ?? null);
    return choice === null ? null : ipc.upload({ paths, service, if_sent: choice });
  }

  async #compare(paths: string[], service: string | null, name: string): Promise<AddedUploads | null> {
    this.#early = undefined;
    const late = setTimeout(() => (this.comparing = name), LATE);
    try {
      return await ipc.upload({ paths, service, if_sent: 'ask' });
    } catch (error) {
      if (this.#early === undefined) throw error;
      return null;
    } finally {
      clearTimeout(late);
      this.comparing = null;
    }
  }

  async #ask(question: SentBefore): Promise<Choice | null> {
    this.question = question;
    try {
      return await new Promise((resolve) => (this.#answer = resolve));
    } finally {
      this.question = null;
      this.#answer = undefined;
    }
  }
}

export const beforeSending = new BeforeSending();
