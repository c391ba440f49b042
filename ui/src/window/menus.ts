/** Menus of rows. The system draws them; the page says what there is and does what was chosen. */
import * as ipc from '../engine/ipc';
import { language } from '../words/language.svelte';
import { attempt } from './attempt';

export interface Action {
  id: string;
  label: string;
  run: () => unknown;
  keys?: string;
  disabled?: boolean;
}

/** Between two groups is a line. */
export type Menu = Action[][];

/** Keys ask for the menu of the row under the cursor, the pointer for that of the row below it. */
let byKeys = false;
document.addEventListener('keydown', () => (byKeys = true), true);
document.addEventListener('pointerdown', () => (byKeys = false), true);

/**
 * The row whose menu is to open; `cursor` is the id of the one that the keys act on, `reveal` brings it into sight. Nothing where there is no row, or
 * where the menu of the webview is the better one.
 */
export async function rowFor(
  event: MouseEvent,
  cursor: string | null,
  reveal: () => Promise<void> | undefined,
): Promise<HTMLElement | null> {
  if (isAboutText(event)) return null;
  event.preventDefault();
  if (!byKeys) return event.target instanceof Element ? event.target.closest<HTMLElement>('[role="row"]') : null;
  if (cursor === null) return null;
  // A long list holds only the rows that are in sight.
  if (document.getElementById(cursor) === null) await reveal();
  return document.getElementById(cursor);
}

/** The webview's own menu is for text; on anything else it would offer to load the page again. */
export function isAboutText({ target }: MouseEvent): boolean {
  if (!(target instanceof Element)) return false;
  const marked = getSelection()?.isCollapsed === false;
  return target.closest('input, textarea') !== null || (marked && target.closest('.selectable') !== null);
}

/** Opens a menu for that row, and does what is chosen. */
export async function popUp(menu: Menu, row: HTMLElement) {
  const groups = menu.filter((group) => group.length > 0);
  const entries = groups.map((group) =>
    group.map(({ id, label, keys, disabled }) => ({ id, words: label, enabled: !disabled, keys: keys ?? null })),
  );
  const box = row.getBoundingClientRect();
  const at = { x: language.direction === 'rtl' ? box.right : box.left, y: box.bottom };
  await attempt(async () => {
    const chosen = await ipc.openMenu(entries, byKeys ? at : null);
    await menu
      .flat()
      .find((action) => action.id === chosen)
      ?.run();
  });
}
