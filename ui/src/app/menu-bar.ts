/** The menu bar of a Mac: the commands by their names and keys, and what the system does itself by names of its own. */
import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { isMac } from '../primitives/keys';
import { attempt } from '../window/attempt';
import { commands, mayRun } from './commands';
import type { BarMenu, MenuEntry } from '../engine/types';

const own = (id: string, words: string, keys: string | null = null): MenuEntry => ({
  id,
  words,
  enabled: true,
  keys,
});

/** What the system does itself. */
const system = (id: string, words: string) => own(`system:${id}`, words);

function command(id: string): MenuEntry[] {
  const found = commands.find((one) => one.id === id);
  if (!found) return [];
  // A bare letter in a menu would be taken from every text field.
  return [own(id, found.label(), found.keys?.includes('Mod') ? found.keys : null)];
}

const menus = (): BarMenu[] => [
  {
    id: 'app',
    title: m.app_name(),
    groups: [
      [system('about', m.menu_about())],
      command('settings'),
      [system('services', m.menu_services())],
      [
        system('hide', m.menu_hide()),
        system('hide-others', m.menu_hide_others()),
        system('show-all', m.menu_show_all()),
      ],
      [own('quit', m.shell_quit(), 'Mod+Q')],
    ],
  },
  {
    id: 'file',
    title: m.menu_file(),
    groups: [
      [...command('upload-files'), ...command('upload-folder'), ...command('add')],
      [system('close', m.menu_close())],
    ],
  },
  {
    id: 'edit',
    title: m.menu_edit(),
    groups: [
      [system('undo', m.undo()), system('redo', m.menu_redo())],
      [
        system('cut', m.menu_cut()),
        system('copy', m.menu_copy()),
        system('paste', m.menu_paste()),
        system('select-all', m.menu_select_all()),
      ],
    ],
  },
  {
    id: 'view',
    title: m.menu_view(),
    groups: [
      ['transfers', 'library', 'services', 'palette'].flatMap(command),
      [system('full-screen', m.menu_full_screen())],
    ],
  },
  {
    id: 'transfers',
    title: m.nav_transfers(),
    groups: [['pause-all', 'resume-all'].flatMap(command), command('clear-done')],
  },
  {
    id: 'window',
    title: m.menu_window(),
    groups: [[system('minimize', m.menu_minimize()), system('zoom', m.menu_zoom())]],
  },
  { id: 'help', title: m.menu_help(), groups: [['shortcuts', 'report'].flatMap(command)] },
];

/** Shows the bar in the language of the window. Nothing elsewhere than on a Mac. */
export function show() {
  if (isMac) void attempt(() => ipc.setMenuBar(menus()));
}

/** Does what is chosen there. */
export function follow(): () => void {
  if (!isMac) return () => undefined;
  const listening = ipc.onCommand((id) => {
    const command = commands.find((one) => one.id === id);
    if (mayRun(command)) void command?.run();
  });
  return () => void listening.then((stop) => stop());
}
