import * as ipc from './ipc';
import { m } from './paraglide/messages.js';
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

/** The clipboard's text, or nothing where the webview keeps it from the page. */
export async function paste(): Promise<string | null> {
  try {
    return await navigator.clipboard.readText();
  } catch {
    return null;
  }
}
