/** What can be done with transfers, and how it is undone. */
import { copy } from './clipboard';
import * as format from './format';
import * as ipc from './ipc';
import { missing } from './missing.svelte';
import { navigation } from './navigation.svelte';
import { m } from './paraglide/messages.js';
import { addBar } from './add-bar.svelte';
import { beforeSending } from './sent-before.svelte';
import { selection } from './selection.svelte';
import { isOwn } from './phrases';
import { services } from './services.svelte';
import { settings } from './settings.svelte';
import { toasts } from './toasts.svelte';
import { transfers } from './transfers.svelte';
import type { AddedDownload, Can, Code, Failure, Remedy, Transfer, TransferId, Where } from './types';

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

/** Ends the first screen, if it is still there: from now on files go to that service. */
export async function welcome(service = services.receiving?.id): Promise<boolean> {
  if (settings.current?.welcomed ?? true) return true;
  return attempt(() => settings.save({ ...(service !== undefined && { default_service: service }), welcomed: true }));
}

/** Runs something that may be refused, and says so if it is. Answers whether it went well. */
export async function attempt(run: () => unknown): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}

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

/**
 * Sends files, once it is known what becomes of those that were sent before, and offers to take it back. Answers the
 * ids of the new transfers.
 */
export async function upload(paths: string[], service: string | null = null): Promise<TransferId[]> {
  if (paths.length === 0) return [];
  const first = settings.current?.welcomed === false;
  service ??= services.chosen;
  const target = services.name(service ?? '');
  try {
    const added = await beforeSending.add(paths, service, target);
    if (added === null) return [];
    const { ids, new: fresh, reused, skipped, links } = added;
    const sent = ids.length - reused;
    const said = [
      sent > 0 && m.upload_started({ count: sent, n: format.count(sent), service: target }),
      reused > 0 && m.sent_reused({ count: reused, n: format.count(reused), service: target }),
      skipped > 0 && m.sent_skipped({ count: skipped, n: format.count(skipped) }),
      links.count > 0 &&
        m.links_left_out({
          count: links.count,
          n: format.count(links.count),
          names: links.paths.slice(0, 3).map(format.lastPart).join(', '),
        }),
    ].filter((part) => part !== false);
    if (first) await welcome(service ?? undefined);
    navigation.go('transfers');
    toasts.show({
      tone: 'ok',
      text: said[0] ?? '',
      detail: said.slice(1).join(' · ') || undefined,
      action: ids.length > 0 ? { label: m.undo(), run: () => void undoStart(fresh) } : undefined,
    });
    return ids;
  } catch (error) {
    toasts.fail(error);
    return [];
  }
}

export async function pickAndUpload(folders: boolean, service: string | null = null): Promise<TransferId[]> {
  try {
    return await upload(await ipc.pickFiles(folders), service);
  } catch (error) {
    toasts.fail(error);
    return [];
  }
}

/** Brings something here from a service and offers to take it back. */
export const download = (what: string, service: string, said: string) =>
  bring(() => ipc.download({ what, service }), said);

/** Brings once more what was downloaded before. */
export const downloadAgain = ({ id, name }: Transfer) =>
  bring(() => ipc.downloadAgain(id), m.add_started({ what: name }));

function bring(run: () => Promise<AddedDownload>, said: string): Promise<boolean> {
  return attempt(async () => {
    const { id, is_new } = await run();
    const [row] = is_new ? [] : await ipc.rows([id]);
    // The same that was not finished yet goes on in its row: nothing came onto the list that could be taken back.
    if (row) toasts.show({ text: m.add_known({ what: row.name }) });
    else toasts.show({ tone: 'ok', text: said, action: { label: m.undo(), run: () => void undoStart([id]) } });
  });
}

/** Where another link is put in. */
export function pasteNewLink() {
  navigation.go('transfers');
  addBar.focus();
}

/** The same for several links at once. Answers those that were refused; the first refusal is said. */
export async function downloadLinks(links: string[]): Promise<string[]> {
  const added: AddedDownload[] = [];
  const refused: string[] = [];
  for (const link of links) {
    try {
      added.push(await ipc.download({ what: link, service: services.anyLink?.id }));
    } catch (error) {
      if (refused.length === 0) toasts.fail(error);
      refused.push(link);
    }
  }
  if (added.length > 0) {
    const fresh = added.filter((one) => one.is_new).map((one) => one.id);
    toasts.show({
      tone: 'ok',
      text: m.links_started({ count: added.length, n: format.count(added.length) }),
      action: { label: m.undo(), run: () => void undoStart(fresh) },
    });
  }
  return refused;
}

/**
 * Text from elsewhere goes into the add bar. On the first screen it must be something that Ferry knows: it may be a key
 * that missed its field.
 */
export async function take(text: string) {
  if (text.trim() === '') return;
  if (settings.current?.welcomed === false) {
    const known = await ipc.recognise(text.trim().split(/\s/)[0] ?? '').catch(() => []);
    if (known.length === 0 || !(await welcome())) return;
  }
  navigation.go('transfers');
  addBar.focus(text);
}

/** Takes back what had just come onto the list; what was on its way already is not among it. */
async function undoStart(ids: TransferId[]) {
  await attempt(async () => {
    const { taken, ended } = await ipc.takeBack(ids);
    if (ended.length > 0) tooLateFor(await ipc.rows(ended));
    else if (taken === 0) toasts.show({ text: m.undo_nothing() });
  });
}

/** What has arrived is not gone with its row: says so, and offers to delete it where it went. */
function tooLateFor(rows: Transfer[]) {
  const [first] = rows;
  if (!first) return;
  const counted = { count: rows.length, n: format.count(rows.length) };
  if (first.kind === 'download') {
    const action = { label: m.show_in_folder(), run: () => void show(first.id) };
    toasts.show({ text: m.undo_saved_already(counted), action });
    return;
  }
  const service = services.name(first.service);
  toasts.show({
    text: m.undo_sent_already({ ...counted, service }),
    action: { label: `${m.asset_delete_confirm({ service })}…`, run: () => void deleteSent(rows) },
  });
}

/** Deletes at the service what was sent by mistake. The rows of what is deleted go with it. */
async function deleteSent(rows: Transfer[]) {
  const [first] = rows;
  if (!first) return;
  await attempt(async () => {
    const sent = rows.flatMap(({ asset_id }) => asset_id ?? []);
    const { gone, failure } = await ipc.assetDelete(sent.map((asset_id) => ({ asset_id, service: first.service })));
    const deleted = rows.filter(({ asset_id }) => asset_id !== undefined && gone.includes(asset_id));
    if (deleted.length > 0) await ipc.remove(deleted.map(({ id }) => id));
    if (failure) toasts.fail(failure);
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

/** What may be put right outside Ferry, after which the same can be tried again. */
const RIGHTED_ELSEWHERE = new Set<Remedy>(['check_service', 'choose_folder', 'choose_file', 'remove', 'report']);
/** What fails in the same way however often it is tried. */
const LASTING = new Set<Code>(['invalid_input', 'unsupported']);

/** Every way out of a failure, the engine's own first. */
export function waysOut({ code, remedy, what }: Pick<Failure, 'code' | 'remedy' | 'what'>, service: string): Remedy[] {
  const ways: Remedy[] = isOwn(what) && what.is === 'link_not_kept' ? ['new_link', remedy] : [remedy];
  // A plain link has no card to look at, and a signed URL of one's own takes the file that it was made for.
  if (service === services.anyLink?.id && (remedy === 'check_service' || remedy === 'choose_file')) ways.pop();
  if (RIGHTED_ELSEWHERE.has(remedy) && !LASTING.has(code)) ways.push('retry');
  if (code === 'disk_full') ways.push('choose_folder');
  return [...new Set([...ways, 'remove' as const])];
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
      pasteNewLink();
      return;
    case 'choose_file':
      await chooseAnother(id, service);
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

/** Sends another file in place of one that cannot be read. The same one again goes on in its own row. */
async function chooseAnother(id: TransferId, service: string) {
  const ids = await pickAndUpload(false, service);
  if (ids.length > 0 && !ids.includes(id)) await attempt(() => ipc.remove([id]));
}

async function deleteAssetAndSendAgain({ id, asset_id, service }: Transfer) {
  if (asset_id === undefined) {
    await retry([id]);
    return;
  }
  await attempt(async () => {
    const { gone, failure } = await ipc.assetDelete([{ asset_id, service }]);
    if (failure) toasts.fail(failure);
    else if (gone.length > 0) await ipc.retry([id]);
  });
}

export async function copyReport() {
  await attempt(async () => copy(await ipc.diagnostics(), m.settings_report_copied()));
}
