/** The ways out of a failure. */
import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { services } from '../services/services.svelte';
import { attempt } from '../window/attempt';
import { navigation } from '../window/navigation.svelte';
import { copyReport } from '../window/report';
import { toasts } from '../window/toasts.svelte';
import { isOwn } from '../words/phrases';
import { retry, remove } from './actions';
import { pickAndUpload, pasteNewLink } from './add';
import type { Code, Failure, Remedy, Transfer, TransferId } from '../engine/types';

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
