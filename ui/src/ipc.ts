/** The only door to the engine: commands, the one stream of changes, and what is dropped on the window. */
import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';

import type {
  AddedDownload,
  AddedUploads,
  Asset,
  AssetInfo,
  Can,
  CheckReport,
  Failure,
  Hidden,
  Hour,
  IfSent,
  ImportedAssets,
  KeyState,
  LinkOffer,
  ListChanges,
  Listing,
  Look,
  Opening,
  PathSummary,
  Pictures,
  Recognised,
  Settings,
  TakenBack,
  TimelineEntry,
  Transfer,
  TransferId,
  Where,
} from './types';

export type Unlisten = () => void;

/** The first look, and the one after a gap. A `fresh` page hides nothing yet. */
export const open = (look: Look, fresh: boolean) => invoke<Opening>('open', { look, fresh });

/** Another look. All rows in its sight come along. */
export const look = (look: Look) => invoke<Listing>('look', { look });

export const onChanges = (handle: (changes: ListChanges) => void): Promise<Unlisten> =>
  listen<ListChanges>('transfers-changed', (event) => handle(event.payload));

/** These rows; unknown ones are left out. */
export const rows = (ids: readonly TransferId[]) => invoke<Transfer[]>('rows', { ids });

/** Those of these, or of all (`null`), with which this can be done. */
export const which = (ids: readonly TransferId[] | null, can: Can) => invoke<TransferId[]>('which', { ids, can });

/** The rows that are shown from one to the other, in order; `null` = an end of the list. */
export const between = (from: TransferId | null, to: TransferId | null) =>
  invoke<TransferId[]>('between', { from, to });

/** Bytes that were completed in each hour, by when the hours begin. */
export const day = (hours: number[]) => invoke<Hour[]>('day', { hours });

/** Asks for files, or for folders, with the system's own dialog. Empty = the dialog was closed. */
export const pickFiles = (folders: boolean) => invoke<string[]>('pick_files', { folders });

export const summarise = (paths: string[]) => invoke<PathSummary>('summarise', { paths });

/** Adds files; `ifSent` says what becomes of those that were sent to the service before. */
export const upload = (paths: string[], service: string | null, ifSent: IfSent) =>
  invoke<AddedUploads>('upload', { request: { paths, service, if_sent: ifSent } });

/** Ends the comparison with what was sent before: that upload fails as `canceled`, with nothing added. */
export const stopComparing = () => invoke<undefined>('stop_comparing');

export const download = (what: string, service: string | null = null) =>
  invoke<AddedDownload>('download', { request: { what, service } });

export const recognise = (text: string) => invoke<Recognised[]>('recognise', { text });

export const pause = (ids: TransferId[]) => invoke<undefined>('pause', { ids });
export const resume = (ids: TransferId[]) => invoke<undefined>('resume', { ids });
export const cancel = (ids: TransferId[]) => invoke<undefined>('cancel', { ids });
export const retry = (ids: TransferId[]) => invoke<undefined>('retry', { ids });
export const remove = (ids: TransferId[]) => invoke<undefined>('remove', { ids });

/** Takes rows out of sight until they are brought back or removed. */
export const hide = (ids: TransferId[]) => invoke<Hidden>('hide', { ids });
export const unhide = (ids: TransferId[]) => invoke<undefined>('unhide', { ids });

export const moveRows = (ids: TransferId[], to: Where) => invoke<undefined>('move_rows', { ids, to });

/** Puts these behind that one of the queue; `null` = at its front. */
export const moveBehind = (ids: TransferId[], above: TransferId | null) =>
  invoke<undefined>('move_behind', { ids, above });

/** Cancels and removes what had just come onto the list, but what has ended with a file. */
export const takeBack = (ids: TransferId[]) => invoke<TakenBack>('take_back', { ids });

export const timeline = (id: TransferId) => invoke<TimelineEntry[]>('timeline', { id });
/** What the details of one transfer draw: asked for while they are open. */
export const pictures = (id: TransferId) => invoke<Pictures>('pictures', { id });
/** A small picture of a finished image or video, as a `data:` URL; `null` = there is none. */
export const thumbnail = (id: TransferId) => invoke<string | null>('thumbnail', { id });

/** Whether the file of a transfer is still where it was. */
export const fileThere = (id: TransferId) => invoke<boolean>('file_there', { id });

export const showInFolder = (id: TransferId) => invoke<undefined>('show_in_folder', { id });
export const openFile = (id: TransferId) => invoke<undefined>('open_file', { id });

/** Whether a download can be had once more without a new link. */
export const canDownloadAgain = (id: TransferId) => invoke<boolean>('can_download_again', { id });
export const downloadAgain = (id: TransferId) => invoke<AddedDownload>('download_again', { id });

/** How many the library knows. */
export const assetCount = () => invoke<number>('asset_count');
export const assets = (search: string) => invoke<Asset[]>('assets', { search });
export const assetInfo = (assetId: string, service: string) => invoke<AssetInfo>('asset_info', { assetId, service });

/** The ids of assets that were deleted; none = the user thought better of it. `failure`: why the others are still there. */
export interface Deleted {
  gone: string[];
  failure: Failure | null;
}

/** Deletes assets of one service there. The desktop asks the user first, in a dialog of its own. */
export async function assetDelete(ids: string[], service: string): Promise<Deleted> {
  const assets = ids.map((asset_id) => ({ asset_id, service }));
  return invoke<Deleted>('asset_delete', { assets });
}

/** Writes the library to a file of the user's choice; `null` = the dialog was closed. */
export const exportAssets = () => invoke<string | null>('export_assets');

/** Takes in a library from a file of the user's choice; `null` = the dialog was closed. */
export const importAssets = () => invoke<ImportedAssets | null>('import_assets');

export const check = (service: string) => invoke<CheckReport>('check', { service });
export const setKey = (service: string, key: string) => invoke<KeyState>('set_key', { service, key });
export const removeKey = (service: string) => invoke<undefined>('remove_key', { service });

/** Changes these fields; answers all settings as they are now. */
export const saveSettings = (changes: Partial<Settings>) => invoke<Settings>('save_settings', { changes });

/** Whether a tray icon is there to bring a closed window back. */
export const trayThere = () => invoke<boolean>('tray_there');

/** Everything as it was at first, but where files and keys go. */
export const resetSettings = () => invoke<Settings>('reset_settings');

/** Writes the settings to a file of the user's choice; false = the dialog was closed. */
export const exportSettings = () => invoke<boolean>('export_settings');

/** Takes settings over from a file of the user's choice; `null` = the dialog was closed. */
export const importSettings = () => invoke<Settings | null>('import_settings');

/** What a `ferry://` link proposes, if one waits for an answer. */
export const linkOffer = () => invoke<LinkOffer | null>('link_offer');

/** Answers it: by which service, or not at all. To a service the desktop asks once more, in a dialog of its own. */
export const answerLink = (shown: string, service: string | null) =>
  invoke<TransferId | null>('answer_link', { shown, service });

export const onLink = (handle: () => void): Promise<Unlisten> => listen('link-opened', handle);

export interface MenuEntry {
  id: string;
  words: string;
  enabled: boolean;
  keys: string | null;
}

/** Opens a menu of the system's, under the pointer or at a place; `null` = it was closed. */
export const openMenu = (groups: MenuEntry[][], at: { x: number; y: number } | null) =>
  invoke<string | null>('open_menu', { groups, at });

export interface BarMenu {
  id: string;
  title: string;
  groups: MenuEntry[][];
}

/** What is in the menu bar of a Mac. */
export const setMenuBar = (menus: BarMenu[]) => invoke<undefined>('set_menu_bar', { menus });

/** A command that was chosen there. */
export const onCommand = (handle: (id: string) => void): Promise<Unlisten> =>
  listen<string>('command-chosen', (event) => handle(event.payload));

export const copyText = (text: string) => invoke<undefined>('copy_text', { text });

/** The text on the clipboard; `null` = there is none. */
export const pasteText = () => invoke<string | null>('paste_text');

/** Hands finished files to the pointer, for another program; false = this system cannot. */
export const dragOut = (ids: TransferId[]) => invoke<boolean>('drag_out', { ids });

/** Asks for a folder and saves it as the Downloads folder; `null` = the dialog was closed. */
export const pickDownloadsFolder = () => invoke<string | null>('pick_downloads_folder');

/** Asks for another folder for a download, which goes on there; `null` = the dialog was closed. */
export const chooseFolderFor = (id: TransferId) => invoke<string | null>('choose_folder_for', { id });

/** A report without names, keys or addresses, for the people who maintain Ferry. */
export const diagnostics = () => invoke<string>('diagnostics');

export type Drop = { type: 'enter' | 'over' | 'drop'; paths: string[]; x: number; y: number } | { type: 'leave' };

/** As the shell tells it: where is a share of the window, and the paths of what is moved across it are known. */
export type Held =
  | { type: 'enter' | 'drop'; paths: string[]; x: number; y: number }
  | { type: 'over'; x: number; y: number }
  | { type: 'leave' };

/** Files dragged over the window. Paths come from the system, positions in CSS pixels. */
export function onDrop(handle: (drop: Drop) => void): Promise<Unlisten> {
  let paths: string[] = [];
  return listen<Held>('files-held', ({ payload }) => {
    if (payload.type === 'leave') {
      handle(payload);
      return;
    }
    if (payload.type !== 'over') ({ paths } = payload);
    const { type, x, y } = payload;
    handle({ type, paths, x: x * window.innerWidth, y: y * window.innerHeight });
  });
}

/** Commands fail with a `Failure`; anything else is a fault in Ferry and is shown as one. */
export function asFailure(error: unknown): Failure {
  if (isFailure(error)) return error;
  const why = error instanceof Error ? error.message : String(error);
  return { code: 'internal', what: { is: 'fault_inside' }, why, advice: { is: 'send_report' }, remedy: 'report' };
}

function isFailure(error: unknown): error is Failure {
  return typeof error === 'object' && error !== null && 'code' in error && 'what' in error && 'remedy' in error;
}
