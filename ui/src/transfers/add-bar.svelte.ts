import { m } from '../paraglide/messages.js';
import { toasts } from '../window/toasts.svelte';
import * as format from '../words/format';

const isLink = (text: string) => /^https?:\/\/\S+$/i.test(text);

/** The links of a text that is made of nothing but several. */
export function severalLinks(text: string): string[] {
  const parts = text.split(/\s+/);
  return parts.length > 1 && parts.every(isLink) ? [...new Set(parts)] : [];
}

/** What of a text can stand in one line: all of it when each of its lines is a link, else its first; that is said. */
export function inOneLine(text: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.every(isLink)) return lines.join(' ');
  if (lines.length > 1) toasts.show({ text: m.add_first_line({ n: format.count(lines.length) }) });
  return lines[0] ?? '';
}

/** The text in the add bar, and the wish to have the focus there. Other parts of the window put text in it. */
class AddBar {
  text = $state('');
  /** The focus is to go there; the bar takes that back once it has it. */
  wanted = $state(false);

  focus(text?: string) {
    if (text !== undefined) this.text = inOneLine(text);
    this.wanted = true;
  }
}

export const addBar = new AddBar();
