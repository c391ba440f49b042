/** Where the focus goes when what had it goes: never nowhere, where keys do nothing and a screen reader begins anew. */
import { tick } from 'svelte';

/** To the page that is open: to its list if it shows one, else to what scrolls, else to its heading. */
export function toView() {
  const main = document.querySelector('main');
  for (const wanted of ['[role="grid"]', '.page', 'h1[tabindex]']) {
    const found = main?.querySelector<HTMLElement>(wanted);
    if (!found) continue;
    found.focus({ preventScroll: true });
    return;
  }
}

/** Once the page has changed: picks the focus up if it fell. */
export async function pickUp(give: () => void = toView) {
  await tick();
  if (document.activeElement === null || document.activeElement === document.body) give();
}

/** Right before the page changes: if what has the focus in there goes with the change, it is given on. */
export function keep(inside: Element | undefined, give?: () => void) {
  if (inside?.contains(document.activeElement)) void pickUp(give);
}
