import * as ipc from './ipc';
import type { Settings } from './types';

/** The settings as the engine holds them. Every change goes out whole and is taken back if the engine refuses it. */
class SettingsStore {
  current = $state.raw<Settings | null>(null);
  /** Where downloads go just now, in full. */
  downloadsFolder = $state('');

  set(settings: Settings, downloadsFolder: string) {
    this.current = settings;
    this.downloadsFolder = downloadsFolder;
  }

  async save(change: Partial<Settings>): Promise<void> {
    const before = this.current;
    if (!before) return;
    const next = { ...before, ...change };
    this.current = next;
    try {
      await ipc.saveSettings(next);
    } catch (error) {
      if (this.current === next) this.current = before;
      throw error;
    }
  }

  /** Everything as it was at first, but where files and keys go. Answers what it was before. */
  async reset(): Promise<Settings | null> {
    const before = this.current;
    this.current = await ipc.resetSettings();
    return before;
  }

  /** Takes settings over from a file; answers what they were before, or `null` when nothing was chosen. */
  async import(): Promise<Settings | null> {
    const before = this.current;
    const taken = await ipc.importSettings();
    if (taken === null) return null;
    this.current = taken;
    return before;
  }

  async pickDownloadsFolder(): Promise<string | null> {
    const folder = await ipc.pickDownloadsFolder();
    if (folder !== null) {
      this.downloadsFolder = folder;
      if (this.current) this.current = { ...this.current, downloads_folder: folder };
    }
    return folder;
  }
}

export const settings = new SettingsStore();
