/** Everything that can be done by name or by key: the palette, the sheet of shortcuts and the key handler read this one list. */
import * as actions from './actions';
import { addBar } from './add-bar.svelte';
import { paste } from './clipboard';
import { confirmation } from './confirmation.svelte';
import { links } from './links.svelte';
import { navigation } from './navigation.svelte';
import { m } from './paraglide/messages.js';
import { search } from './search.svelte';
import { selection } from './selection.svelte';
import { beforeSending } from './sent-before.svelte';
import { settings } from './settings.svelte';
import type { Theme } from './types';

export interface Command {
  id: string;
  label: () => string;
  /** `Mod` is Ctrl, or ⌘ on a Mac. */
  keys?: string;
  group: 'app' | 'list';
  /** Does something with many rows at once that is not meant by chance. */
  sweeping?: true;
  /** Also on the first screen, which it ends. */
  early?: true;
  /** Works only while the list has the focus, because the key means something else in a text field or on a button. */
  run: () => unknown;
}

export const isMac = typeof navigator !== 'undefined' && /mac/i.test(navigator.userAgent);

const theme = (value: Theme) => () => actions.attempt(() => settings.save({ theme: value }));

export async function pasteAndRecognise() {
  const text = await paste();
  if (text !== null) await actions.take(text);
}

export const commands: Command[] = [
  {
    id: 'upload-files',
    group: 'app',
    keys: 'Mod+O',
    early: true,
    label: m.cmd_upload_files,
    run: () => actions.pickAndUpload(false),
  },
  {
    id: 'upload-folder',
    group: 'app',
    keys: 'Mod+Shift+O',
    early: true,
    label: m.cmd_upload_folder,
    run: () => actions.pickAndUpload(true),
  },
  {
    id: 'add',
    group: 'app',
    keys: 'N',
    label: m.cmd_add,
    run: () => {
      navigation.go('transfers');
      addBar.focus();
    },
  },
  { id: 'paste', group: 'app', keys: 'V', early: true, label: m.cmd_paste, run: pasteAndRecognise },
  { id: 'search', group: 'app', keys: 'F', label: m.cmd_search, run: () => search.focus() },
  { id: 'palette', group: 'app', keys: 'Mod+K', label: m.cmd_palette, run: () => (navigation.palette = true) },
  { id: 'settings', group: 'app', keys: 'Mod+,', label: m.cmd_settings, run: () => navigation.go('settings') },
  { id: 'transfers', group: 'app', keys: 'Mod+1', label: m.cmd_transfers, run: () => navigation.go('transfers') },
  { id: 'library', group: 'app', keys: 'Mod+2', label: m.cmd_library, run: () => navigation.go('library') },
  { id: 'services', group: 'app', keys: 'Mod+3', label: m.cmd_services, run: () => navigation.go('services') },
  { id: 'shortcuts', group: 'app', keys: '?', label: m.cmd_shortcuts, run: () => (navigation.shortcuts = true) },
  { id: 'pause-all', group: 'app', label: m.cmd_pause_all, run: actions.pauseAll },
  { id: 'resume-all', group: 'app', label: m.cmd_resume_all, run: actions.resumeAll },
  { id: 'clear-done', group: 'app', sweeping: true, label: m.clear_done, run: actions.removeDone },
  { id: 'theme-light', group: 'app', label: m.cmd_theme_light, run: theme('light') },
  { id: 'theme-dark', group: 'app', label: m.cmd_theme_dark, run: theme('dark') },
  { id: 'theme-system', group: 'app', label: m.cmd_theme_system, run: theme('system') },
  { id: 'report', group: 'app', label: m.settings_report_copy, run: actions.copyReport },
  {
    id: 'pause',
    group: 'list',
    keys: 'Space',
    label: m.cmd_pause,
    run: () => actions.pauseOrResume(selection.targets),
  },
  {
    id: 'details',
    group: 'list',
    keys: 'Enter',
    label: m.cmd_details,
    run: () => selection.cursor !== null && selection.toggleOpen(selection.cursor),
  },
  { id: 'remove', group: 'list', keys: 'Delete', label: m.cmd_remove, run: () => actions.remove(selection.targets) },
  {
    id: 'select-all',
    group: 'list',
    keys: 'Mod+A',
    label: m.cmd_select_all,
    run: () => actions.attempt(() => selection.all()),
  },
  {
    id: 'move-up',
    group: 'list',
    keys: 'Alt+ArrowUp',
    label: m.move_up,
    run: () => actions.move(selection.targets, 'up'),
  },
  {
    id: 'move-down',
    group: 'list',
    keys: 'Alt+ArrowDown',
    label: m.move_down,
    run: () => actions.move(selection.targets, 'down'),
  },
];

/** The whole name comes first, then its beginning, then the beginning of a word in it; what sweeps comes last. */
function rank({ label, sweeping }: Command, wanted: string): number {
  const name = label().toLowerCase();
  const near = name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(` ${wanted}`) ? 2 : 3;
  return wanted !== '' && sweeping ? 4 : near;
}

/** What the palette offers for these words, the likeliest first. The selected rows are not spoken of out of their sight. */
export function matching(query: string): Command[] {
  const wanted = query.trim().toLowerCase();
  const words = wanted.split(/\s+/);
  return commands
    .filter(({ group }) => group === 'app' || navigation.view === 'transfers')
    .filter(({ label }) => words.every((word) => label().toLowerCase().includes(word)))
    .sort((one, other) => rank(one, wanted) - rank(other, wanted));
}

/** Whether a command may run now: most do not before the first choice is made, and none does behind a question. */
export function mayRun(command: Command | undefined): boolean {
  const asked = confirmation.question !== null || links.offer !== null || beforeSending.question !== null;
  const welcomed = settings.current?.welcomed ?? true;
  return (welcomed || command?.early === true) && !navigation.palette && !navigation.shortcuts && !asked;
}

/** Whether this press of a key is that combination. */
export function pressed(event: KeyboardEvent, keys: string): boolean {
  const parts = keys.split('+');
  const key = parts.pop() ?? '';
  const mod = isMac ? event.metaKey : event.ctrlKey;
  const other = isMac ? event.ctrlKey : event.metaKey;
  // `?` needs Shift on some keyboards and not on others: the character alone decides.
  const shift = key === '?' ? true : event.shiftKey === parts.includes('Shift');
  const name = event.key === ' ' ? 'Space' : event.key === 'Backspace' && isMac ? 'Delete' : event.key;
  return (
    name.toLowerCase() === key.toLowerCase() &&
    mod === parts.includes('Mod') &&
    !other &&
    event.altKey === parts.includes('Alt') &&
    shift
  );
}

const macSigns: Record<string, string> = { Mod: '⌘', Alt: '⌥', Shift: '⇧', Enter: '↩', Delete: '⌫' };
const plainSigns: Record<string, string> = { Mod: 'Ctrl' };
const arrows: Record<string, string> = { ArrowUp: '↑', ArrowDown: '↓' };

/** The keys as they are printed: `['Ctrl', 'O']`. */
export function printed(keys: string): string[] {
  const signs = isMac ? macSigns : plainSigns;
  return keys.split('+').map((key) => signs[key] ?? arrows[key] ?? key);
}
