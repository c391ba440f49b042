/** What can be done with a row. The system draws it as a menu; the page says what there is and does what was chosen. */
import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { copy } from '../window/clipboard';
import * as actions from './actions';
import * as remedies from './remedies';
import { selection } from './selection.svelte';
import { transfers } from './transfers.svelte';
import type { Can, Transfer, TransferId } from '../engine/types';
import type { Action, Menu } from '../window/menus';

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
  const ways = state.is === 'failed' ? remedies.waysOut(state, service) : [];
  return [
    // Trying again and removing are in every menu of a failed transfer anyway.
    ...ways
      .filter((way) => !['retry', 'free_space', 'remove'].includes(way))
      .map((way) => ({
        id: `remedy-${way}`,
        label: remedies.remedyLabel(way),
        run: async () => {
          // The row may have gone on while its menu stood open.
          const [now] = await ipc.rows([id]);
          if (now?.state.is === 'failed') await remedies.remedy(now, way);
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
