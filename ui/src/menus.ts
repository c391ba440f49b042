/** What can be done with a row. The system draws it as a menu; the page says what there is and does what was chosen. */
import * as actions from './actions';
import { copy } from './clipboard';
import * as ipc from './ipc';
import { language } from './language.svelte';
import { m } from './paraglide/messages.js';
import { selection } from './selection.svelte';
import { transfers } from './transfers.svelte';
import type { Can, Transfer, TransferId } from './types';

export interface Action {
  id: string;
  label: string;
  run: () => unknown;
  keys?: string;
  disabled?: boolean;
}

/** Between two groups is a line. */
export type Menu = Action[][];

const present = (group: (Action | false)[]): Action[] => group.filter((action) => action !== false);

const abilities = ['pause', 'resume', 'retry', 'cancel', 'reorder'] as const;

/** For one transfer, or for several: then what can be done with some of them. */
export async function ofTransfers(ids: TransferId[]): Promise<Menu> {
  const [id] = ids;
  const one = ids.length === 1 && id !== undefined ? transfers.get(id) : undefined;
  const can = new Set<Can>();
  if (one) abilities.filter((able) => actions.can[able](one)).forEach((able) => can.add(able));
  else await Promise.all(abilities.map(async (able) => (await ipc.which(ids, able)).length > 0 && can.add(able)));
  const remove = { id: 'remove', label: m.remove(), run: () => actions.remove(ids), keys: 'Delete' };

  return [
    present([
      ...(one ? waysOn(one) : []),
      can.has('pause') && { id: 'pause', label: m.pause(), run: () => actions.pause(ids), keys: 'Space' },
      can.has('resume') && { id: 'resume', label: m.resume(), run: () => actions.resume(ids), keys: 'Space' },
      can.has('retry') && { id: 'retry', label: m.retry(), run: () => actions.retry(ids) },
      (one ? one.state.is === 'queued' : can.has('reorder')) && {
        id: 'first',
        label: m.move_first(),
        run: () => actions.move(ids, 'front'),
      },
    ]),
    one ? looks(one) : [],
    present([can.has('cancel') && { id: 'stop', label: m.cancel(), run: () => actions.cancel(ids) }, remove]),
  ];
}

/** What a single row leads to: the way out of its failure, its file. */
function waysOn(transfer: Transfer): (Action | false)[] {
  const { id, state, service } = transfer;
  const file = actions.can.open(transfer);
  const ways = state.is === 'failed' ? actions.waysOut(state, service) : [];
  return [
    // Trying again and removing are in every menu of a failed transfer anyway.
    ...ways
      .filter((way) => !['retry', 'free_space', 'remove'].includes(way))
      .map((way) => ({
        id: `remedy-${way}`,
        label: actions.remedyLabel(way),
        run: async () => {
          // The row may have gone on while its menu stood open.
          const [now] = await ipc.rows([id]);
          if (now?.state.is === 'failed') await actions.remedy(now, way);
        },
      })),
    file && { id: 'show', label: m.show_in_folder(), run: () => actions.show(id) },
    file && { id: 'open', label: m.open_file(), run: () => actions.open(id) },
  ];
}

function looks({ id, name, asset_id, checksum }: Transfer): Action[] {
  return present([
    { id: 'details', label: m.details(), run: () => selection.toggleOpen(id), keys: 'Enter' },
    { id: 'copy-name', label: m.copy_name(), run: () => copy(name) },
    asset_id !== undefined && { id: 'copy-id', label: m.copy_id(), run: () => copy(asset_id) },
    checksum !== undefined && { id: 'copy-checksum', label: m.copy_checksum(), run: () => copy(checksum) },
  ]);
}

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
  await actions.attempt(async () => {
    const chosen = await ipc.openMenu(entries, byKeys ? at : null);
    await menu
      .flat()
      .find((action) => action.id === chosen)
      ?.run();
  });
}
