import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { toasts } from './toasts.svelte';

/** Puts text on the clipboard and says so. */
export async function copy(text: string, said = m.copied()): Promise<void> {
  try {
    await ipc.copyText(text);
    toasts.show({ text: said });
  } catch (error) {
    toasts.fail(error);
  }
}

/** The text on the clipboard. Where there is none, that is said. */
export async function paste(): Promise<string | null> {
  try {
    const text = (await ipc.pasteText())?.trim();
    if (text) return text;
    toasts.show({ text: m.paste_nothing() });
  } catch (error) {
    toasts.fail(error);
  }
  return null;
}
