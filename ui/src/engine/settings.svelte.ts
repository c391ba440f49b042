import * as ipc from './ipc';
import type { ServiceSetting, Settings } from './types';

/** Fields with their new values. Those of services have names that only the engine knows (`ServiceSetting`). */
type Change = Partial<Settings> & Record<string, unknown>;

/** The fields of `before` that are others in `after`. */
function differing(before: Settings, after: Settings): Change {
  const fields = Object.entries(before).filter(([field, value]) => after[field as keyof Settings] !== value);
  return Object.fromEntries(fields);
}

/**
 * The settings as the engine tells them, whoever changes them. Of a change only the fields that it names go out; until
 * the engine has answered they are shown as they are to be, and go back by themselves if it refuses.
 */
class SettingsStore {
  #told = $state.raw<Settings | null>(null);
  /** Changes that the engine has not answered yet. */
  #wished = $state.raw<readonly Change[]>([]);
  #last: Promise<unknown> = Promise.resolve();
  /** Where downloads go just now, in full. */
  downloadsFolder = $state('');
  readonly current: Settings | null = $derived(
    this.#told && this.#wished.reduce<Settings>((all, change) => ({ ...all, ...change }), this.#told),
  );

  /** What the engine says that they are. */
  set(settings: Settings, downloadsFolder = this.downloadsFolder) {
    this.#told = settings;
    this.downloadsFolder = downloadsFolder;
  }

  /** What is set for a service: as it is to be, also before the engine has answered. */
  of({ name, value }: Pick<ServiceSetting, 'name' | 'value'>): ServiceSetting['value'] {
    const all = this.current as Record<string, unknown> | null;
    return (all?.[name] as ServiceSetting['value'] | undefined) ?? value;
  }

  /** Changes these fields. One change after the other: of two of the same field the later one counts. */
  async save(change: Change): Promise<void> {
    if (this.#told === null) return;
    this.#wished = [...this.#wished, change];
    const saved = this.#last.then(() => ipc.saveSettings(change));
    this.#last = saved.catch(() => undefined);
    try {
      this.#told = await saved;
    } finally {
      this.#wished = this.#wished.filter((one) => one !== change);
    }
  }

  /** Everything as it was at first, but where files and keys go. Answers what takes that back. */
  reset(): Promise<Change | null> {
    return this.#replace(ipc.resetSettings);
  }

  /** Takes settings over from a file; answers what takes that back, or `null` when nothing was chosen. */
  import(): Promise<Change | null> {
    return this.#replace(ipc.importSettings);
  }

  async #replace(run: () => Promise<Settings | null>): Promise<Change | null> {
    const before = this.#told;
    const after = await run();
    if (before === null || after === null) return null;
    this.#told = after;
    return differing(before, after);
  }

  async pickDownloadsFolder(): Promise<string | null> {
    const folder = await ipc.pickDownloadsFolder();
    if (folder !== null) {
      this.downloadsFolder = folder;
      if (this.#told) this.#told = { ...this.#told, downloads_folder: folder };
    }
    return folder;
  }
}

export const settings = new SettingsStore();
