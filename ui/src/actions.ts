/** What can be done with transfers, and how it is undone. */
import { copy } from './clipboard';
import * as format from './format';
import * as ipc from './ipc';
import { navigation } from './navigation.svelte';
import { m } from './paraglide/messages.js';
import { addBar } from './add-bar.svelte';
import { beforeSending } from './sent-before.svelte';
import { confirmation } from './confirmation.svelte';
import { selection } from './selection.svelte';
import { services } from './services.svelte';
import { settings } from './settings.svelte';
import { toasts } from './toasts.svelte';
import { transfers } from './transfers.svelte';
import type { Code, Failure, Remedy, Transfer, TransferId } from './types';

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

/** The transfers of these ids that still exist and for which this can be done. */
export function among(ids: readonly TransferId[], test: (transfer: Transfer) => boolean = () => true): Transfer[] {
  return ids
    .map((id) => transfers.get(id))
    .filter((transfer) => transfer !== undefined)
    .filter(test);
}

/** Runs something that may be refused, and says so if it is. Answers whether it went well. */
export async function attempt(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}

const idsOf = (rows: Transfer[]) => rows.map((row) => row.id);

async function each(
  ids: readonly TransferId[],
  test: (t: Transfer) => boolean,
  run: (ids: TransferId[]) => Promise<void>,
) {
  const chosen = idsOf(among(ids, test));
  return chosen.length > 0 && attempt(() => run(chosen));
}

export const pause = (ids: readonly TransferId[]) => each(ids, can.pause, ipc.pause);
export const resume = (ids: readonly TransferId[]) => each(ids, can.resume, ipc.resume);
export const retry = (ids: readonly TransferId[]) => each(ids, can.retry, ipc.retry);

/** Pauses what moves; if nothing does, continues what is paused or failed. */
export async function pauseOrResume(ids: readonly TransferId[]) {
  if (among(ids, can.pause).length > 0) return pause(ids);
  await resume(ids);
  return retry(ids);
}

/** What is on the list, all of it. */
async function everything(): Promise<Transfer[]> {
  await transfers.whole;
  return transfers.list;
}

export const pauseAll = async () => pause(idsOf(await everything()));
export const resumeAll = async () => resume(idsOf(await everything()));

export async function cancel(ids: readonly TransferId[]) {
  const chosen = idsOf(among(ids, can.cancel));
  if (chosen.length === 0 || !(await attempt(() => ipc.cancel(chosen)))) return;
  toasts.show({
    text: m.canceled_toast({ count: chosen.length, n: format.count(chosen.length) }),
    action: { label: m.undo(), run: () => void attempt(() => ipc.retry(chosen)) },
  });
}

/** Takes rows off the list. The engine is told only when the undo has passed, because a part file goes with its row. */
export async function remove(ids: readonly TransferId[]) {
  const chosen = idsOf(among(ids));
  if (chosen.length === 0) return;
  const moving = idsOf(among(chosen, can.pause));
  if (moving.length > 0 && !(await attempt(() => ipc.pause(moving)))) return;
  const shown = transfers.shown;
  const going = new Set(chosen);
  const last = shown.findLastIndex((row) => going.has(row.id));
  const next = shown.slice(last + 1).find((row) => !going.has(row.id)) ?? shown.findLast((row) => !going.has(row.id));
  transfers.hide(chosen);
  selection.clear();
  selection.cursor = next?.id ?? null;
  if (selection.opened !== null && going.has(selection.opened)) selection.opened = null;
  const bringBack = () => transfers.unhide(chosen);
  toasts.show({
    text: m.removed_toast({ count: chosen.length, n: format.count(chosen.length) }),
    action: {
      label: m.undo(),
      run: () => {
        bringBack();
        if (moving.length > 0) void attempt(() => ipc.resume(moving));
      },
    },
    onGone: () =>
      void attempt(() => ipc.remove(chosen)).then((done) => {
        if (!done) bringBack();
      }),
  });
}

export const removeDone = async () =>
  remove(idsOf((await everything()).filter((row) => state(row) === 'completed' || state(row) === 'canceled')));

/** What is still to be done, in the order of the queue. */
const queue = () => transfers.list.filter(can.reorder).sort((a, b) => a.position - b.position || a.id - b.id);

/** Moves rows one place (or to the very front) among what is still to be done. */
export async function move(ids: readonly TransferId[], where: 'up' | 'down' | 'front') {
  const rows = queue();
  const chosen = new Set(idsOf(among(ids, can.reorder)));
  if (chosen.size === 0) return;
  const first = rows.findIndex((row) => chosen.has(row.id));
  const last = rows.findLastIndex((row) => chosen.has(row.id));
  const rest = rows.filter((row) => !chosen.has(row.id));
  const inOrder = idsOf(rows.filter((row) => chosen.has(row.id)));
  if (where === 'front') {
    await attempt(() => ipc.reorder(inOrder, rest[0]?.id ?? null));
    return;
  }
  if (where === 'up' ? first <= 0 : last >= rows.length - 1) return;
  const neighbour = where === 'up' ? rows[first - 1] : rows[last + 2];
  const before = neighbour && chosen.has(neighbour.id) ? null : (neighbour?.id ?? null);
  await attempt(() => ipc.reorder(inOrder, before));
}

/** Puts rows of the queue behind that one of it, or at the very front. */
export async function moveBehind(ids: readonly TransferId[], above: TransferId | null) {
  const rows = queue();
  const chosen = new Set(idsOf(among(ids, can.reorder)));
  const inOrder = idsOf(rows.filter((row) => chosen.has(row.id)));
  const rest = idsOf(rows).filter((id) => !chosen.has(id));
  // A chosen row stays where it is: what counts is the last one above the gap that does.
  const from = rows.findIndex((row) => row.id === above);
  const anchor = rows.slice(0, from + 1).findLast((row) => !chosen.has(row.id));
  const at = anchor ? rest.indexOf(anchor.id) + 1 : 0;
  const after = [...rest.slice(0, at), ...inOrder, ...rest.slice(at)];
  if (inOrder.length === 0 || after.every((id, index) => id === rows[index]?.id)) return;
  await attempt(() => ipc.reorder(inOrder, rest[at] ?? null));
}

export const show = (id: TransferId) => attempt(() => ipc.showInFolder(id));
export const open = (id: TransferId) => attempt(() => ipc.openFile(id));

/**
 * Sends files, once it is known what becomes of those that were sent before, and offers to take it back. Answers the
 * ids of the new transfers.
 */
export async function upload(paths: string[], service: string | null = null): Promise<TransferId[]> {
  if (paths.length === 0) return [];
  const target = services.name(service ?? settings.current?.default_service ?? '');
  const then = Date.now();
  try {
    const added = await beforeSending.add(paths, service, target);
    if (added === null) return [];
    const { ids, reused, skipped } = added;
    const sent = ids.length - reused;
    const said = [
      sent > 0 && m.upload_started({ count: sent, n: format.count(sent), service: target }),
      reused > 0 && m.sent_reused({ count: reused, n: format.count(reused), service: target }),
      skipped > 0 && m.sent_skipped({ count: skipped, n: format.count(skipped) }),
    ].filter((part) => part !== false);
    navigation.go('transfers');
    toasts.show({
      tone: 'ok',
      text: said[0] ?? '',
      detail: said.slice(1).join(' · ') || undefined,
      action: ids.length > 0 ? { label: m.undo(), run: () => void undoStart(ids, then) } : undefined,
    });
    return ids;
  } catch (error) {
    toasts.fail(error);
    return [];
  }
}

export async function pickAndUpload(folders: boolean): Promise<TransferId[]> {
  try {
    return await upload(await ipc.pickFiles(folders));
  } catch (error) {
    toasts.fail(error);
    return [];
  }
}

/** Brings something here and offers to take it back. */
export async function download(what: string, service: string | null, said: string): Promise<boolean> {
  const then = Date.now();
  try {
    const id = await ipc.download(what, service);
    toasts.show({ tone: 'ok', text: said, action: { label: m.undo(), run: () => void undoStart([id], then) } });
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}

/** Takes back what was added since then. */
async function undoStart(ids: TransferId[], then: number) {
  const added = transfers.addedSince(ids, then);
  if (added.length === 0) return;
  await attempt(async () => {
    await ipc.cancel(added);
    await ipc.remove(added);
  });
}

const remedyLabels: Record<Remedy, () => string> = {
  retry: m.remedy_retry,
  enter_key: m.remedy_enter_key,
  choose_folder: m.remedy_choose_folder,
  free_space: m.remedy_free_space,
  sign_again: m.remedy_sign_again,
  new_link: m.remedy_new_link,
  choose_file: m.remedy_choose_file,
  check_service: m.remedy_check_service,
  start_over: m.remedy_start_over,
  delete_asset: m.remedy_delete_asset,
  remove: m.remedy_remove,
  report: m.remedy_report,
};

/** Every way out of a failure, the engine's own first. */
export function waysOut({ code, remedy }: Pick<Failure, 'code' | 'remedy'>): Remedy[] {
  const more: Partial<Record<Code, Remedy>> = { disk_full: 'choose_folder' };
  return [...new Set([remedy, more[code] ?? remedy, 'remove' as const])];
}

export const remedyLabel = (remedy: Remedy) => remedyLabels[remedy]();

/** The way out of a failed transfer. */
export async function remedy(transfer: Transfer, way: Remedy): Promise<void> {
  const { id, service } = transfer;
  switch (way) {
    case 'retry':
    case 'free_space':
    case 'sign_again':
    case 'start_over':
      await retry([id]);
      return;
    case 'enter_key':
      navigation.enterKey(service);
      return;
    case 'check_service':
      navigation.goToService(service);
      return;
    case 'choose_folder':
      await attempt(() => ipc.chooseFolderFor(id));
      return;
    case 'new_link':
      navigation.go('transfers');
      addBar.focus();
      return;
    case 'choose_file':
      if ((await pickAndUpload(false)).length > 0) await attempt(() => ipc.remove([id]));
      return;
    case 'delete_asset':
      await deleteAssetAndSendAgain(transfer);
      return;
    case 'remove':
      await remove([id]);
      return;
    case 'report':
      await copyReport();
  }
}

async function deleteAssetAndSendAgain({ id, asset_id, name, service }: Transfer) {
  if (asset_id === undefined) {
    await retry([id]);
    return;
  }
  if (!(await confirmation.ask(deleteQuestion(name, service)))) return;
  await attempt(async () => {
    await ipc.assetDelete(asset_id, service);
    await ipc.retry([id]);
  });
}

/** The words before something is deleted at a service. */
export function deleteQuestion(name: string, service: string) {
  const serviceName = services.name(service);
  return {
    title: m.asset_delete_title({ name, service: serviceName }),
    text: m.asset_delete_text(),
    confirm: m.asset_delete_confirm({ service: serviceName }),
  };
}

export async function copyReport() {
  await attempt(async () => copy(await ipc.diagnostics(), m.settings_report_copied()));
}
