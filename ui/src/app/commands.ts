/** Everything that can be done by name or by key: the palette, the sheet of shortcuts and the key handler read this one list. */
import { settings } from '../engine/settings.svelte';
import { m } from '../paraglide/messages.js';
import { search } from '../primitives/search.svelte';
import * as actions from '../transfers/actions';
import * as add from '../transfers/add';
import { addBar } from '../transfers/add-bar.svelte';
import { listCommands } from '../transfers/commands';
import { beforeSending } from '../transfers/sent-before.svelte';
import { attempt } from '../window/attempt';
import { paste } from '../window/clipboard';
import { confirmation } from '../window/confirmation.svelte';
import { navigation } from '../window/navigation.svelte';
import { copyReport } from '../window/report';
import { links } from './links.svelte';
import type { Theme } from '../engine/types';
import type { Command } from '../window/command';

const theme = (value: Theme) => () => attempt(() => settings.save({ theme: value }));

export async function pasteAndRecognise() {
  const text = await paste();
  if (text !== null) await add.take(text);
}

export const commands: Command[] = [
  {
    id: 'upload-files',
    group: 'app',
    keys: 'Mod+O',
    early: true,
    label: m.cmd_upload_files,
    run: () => add.pickAndUpload(false),
  },
  {
    id: 'upload-folder',
    group: 'app',
    keys: 'Mod+Shift+O',
    early: true,
    label: m.cmd_upload_folder,
    run: () => add.pickAndUpload(true),
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
  { id: 'report', group: 'app', label: m.settings_report_copy, run: copyReport },
  ...listCommands,
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
