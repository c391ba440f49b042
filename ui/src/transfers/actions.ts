/** What can be done with transfers, and how it is undone. */
import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { attempt } from '../window/attempt';
import { toasts } from '../window/toasts.svelte';
import * as format from '../words/format';
import { missing } from './missing.svelte';
import { selection } from './selection.svelte';
import { transfers } from './transfers.svelte';
import type { Can, Transfer, TransferId, Where } from '../engine/types';

const state = (transfer: Transfer) => transfer.state.is;

export const can = {
  pause: (transfer: Transfer) => ['queued', 'running', 'verifying'].includes(state(transfer)),
  resume: (transfer: Transfer) => state(transfer) === 'paused',
  retry: (transfer: Transfer) => state(transfer) === 'failed' || state(transfer) === 'canceled',
  cancel: (transfer: Transfer) => ['queued', 'running', 'verifying', 'paused'].includes(state(transfer)),
  open: (transfer: Transfer) =>
    transfer.path !== undefined && (state(transfer) === 'completed' || transfer.kind === 'upload'),
  reorder: (transfer: Transfer) => ['queued', 'running', 'verifying', 'paused', 'failed'].includes(state(transfer)),
};

/** Does it with those of these transfers, or of all (`null`), with which it can be done. */
async function each(ids: readonly TransferId[] | null, able: Can, run: (ids: TransferId[]) => Promise<unknown>) {
  await attempt(async () => {
    const chosen = await ipc.which(ids, able);
    if (chosen.length > 0) await run(chosen);
  });
}

type Ids = readonly TransferId[];
export const pause = (ids: Ids) => each(ids, 'pause', ipc.pause);
export const resume = (ids: Ids) => each(ids, 'resume', ipc.resume);
export const retry = (ids: Ids) => each(ids, 'retry', ipc.retry);
export const pauseAll = () => each(null, 'pause', ipc.pause);
export const resumeAll = () => each(null, 'resume', ipc.resume);

/** Pauses what moves; if nothing does, continues what is paused or failed. */
export async function pauseOrResume(ids: Ids) {
  await attempt(async () => {
    const moving = await ipc.which(ids, 'pause');
    if (moving.length > 0) return ipc.pause(moving);
    await resume(ids);
    return retry(ids);
  });
}

export const cancel = (ids: Ids) =>
  each(ids, 'cancel', async (chosen) => {
    await ipc.cancel(chosen);
    toasts.show({
      text: m.canceled_toast({ count: chosen.length, n: format.count(chosen.length) }),
      action: { label: m.undo(), run: () => void retry(chosen) },
    });
  });

/** Takes rows off the list. They go for good only when the undo has passed, because a part file goes with its row. */
export async function remove(ids: TransferId[]) {
  await attempt(async () => {
    const { ids: hidden, paused, next } = await ipc.hide(ids);
    if (hidden.length === 0) return;
    const bringBack = () => ipc.unhide(hidden);
    toasts.show({
      text: m.removed_toast({ count: hidden.length, n: format.count(hidden.length) }),
      action: {
        label: m.undo(),
        run: () =>
          void attempt(async () => {
            await bringBack();
            if (paused.length > 0) await ipc.resume(paused);
          }),
      },
      onGone: () =>
        void attempt(() => ipc.remove(hidden)).then((done) => {
          if (!done) void attempt(bringBack);
        }),
    });
    if (selection.opened !== null && ids.includes(selection.opened)) selection.opened = null;
    selection.clear();
    selection.cursor = next;
    // Its place is known when the list has been looked at anew.
    await transfers.want();
  });
}

export const removeDone = () => each(null, 'clear', remove);

/** Moves rows one place (or to the very front) among what is still to be done. */
export const move = (ids: Ids, where: Where) => each(ids, 'reorder', (chosen) => ipc.moveRows(chosen, where));

/** Puts rows of the queue behind that one of it, or at the very front. */
export const moveBehind = (ids: Ids, above: TransferId | null) =>
  each(ids, 'reorder', (chosen) => ipc.moveBehind(chosen, above));

export const show = (id: TransferId) => withFile(id, ipc.showInFolder);
export const open = (id: TransferId) => withFile(id, ipc.openFile);

/** A file that is not there is marked as missing, one that is back again no longer. */
async function withFile(id: TransferId, run: (id: TransferId) => Promise<unknown>) {
  const done = await attempt(() => run(id));
  if (!done || missing.of(id)) await attempt(() => missing.look(id));
}
