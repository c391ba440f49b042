import * as ipc from '../engine/ipc';
import { m } from '../paraglide/messages.js';
import { attempt } from './attempt';
import { copy } from './clipboard';

/** Copies what a report of a fault should say of this computer and this Ferry. */
export async function copyReport() {
  await attempt(async () => copy(await ipc.diagnostics(), m.settings_report_copied()));
}
