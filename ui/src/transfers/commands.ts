/** What the keys do with the rows of the list. They mean something else in a text field or on a button. */
import { m } from '../paraglide/messages.js';
import { attempt } from '../window/attempt';
import * as actions from './actions';
import { selection } from './selection.svelte';
import type { Command } from '../window/command';

export const listCommands: Command[] = [
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
    run: () => attempt(() => selection.all()),
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
