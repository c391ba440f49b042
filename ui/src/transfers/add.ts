/** What brings something onto the list, and how it is taken back. */
import * as ipc from '../engine/ipc';
import { settings } from '../engine/settings.svelte';
import { m } from '../paraglide/messages.js';
import { services } from '../services/services.svelte';
import { attempt } from '../window/attempt';
import { navigation } from '../window/navigation.svelte';
import { toasts } from '../window/toasts.svelte';
import * as format from '../words/format';
import { show } from './actions';
import { addBar } from './add-bar.svelte';
import { beforeSending } from './sent-before.svelte';
import type { AddedDownload, Transfer, TransferId } from '../engine/types';

/** Ends the first screen, if it is still there: from now on files go to that service. */
export async function welcome(service = services.receiving?.id): Promise<boolean> {
  if (settings.current?.welcomed ?? true) return true;
  return attempt(() => settings.save({ ...(service !== undefined && { default_service: service }), welcomed: true }));
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
