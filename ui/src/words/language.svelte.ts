import { settings } from '../engine/settings.svelte';
import {
  baseLocale,
  extractLocaleFromNavigator,
  getTextDirection,
  isLocale,
  type Locale,
  localStorageKey,
  locales,
  overwriteGetLocale,
} from '../paraglide/runtime.js';
import type { Language } from '../engine/types';

/** What was chosen when the window was last open: its first words come before the engine's first answer. */
const LAST = 'language';

/** Every language by its own name, so that whoever ended up in a wrong one finds the way back. */
const NAMES: Partial<Record<Locale, string>> = { en: 'English', es: 'Español', zh: '简体中文' };

export const languages = locales.map((value) => ({ value, label: NAMES[value] ?? value }));

declare global {
  interface Window {
    /** What of the desktop's languages Ferry speaks, as its dialogs found out. */
    systemLanguage?: string;
  }
}

function ofSystem(): Locale | undefined {
  const told = window.systemLanguage;
  return isLocale(told) ? told : extractLocaleFromNavigator();
}

/** The language of the window, as the settings have it. */
class LanguageStore {
  #wanted = $state.raw<Locale | undefined>(ofSystem());
  #moving = false;
  readonly chosen: Language = $derived(settings.current?.language ?? last());
  readonly current: Locale = $derived(this.chosen === 'system' ? (this.#wanted ?? baseLocale) : this.chosen);

  /** Keeps what is chosen for the next start. A choice that an earlier window kept by itself moves into the settings. */
  async keep(): Promise<void> {
    const now = settings.current?.language;
    if (now === undefined || this.#moving) return;
    const earlier = localStorage.getItem(localStorageKey);
    if (now === 'system' && isLocale(earlier)) {
      this.#moving = true;
      await settings.save({ language: earlier }).finally(() => (this.#moving = false));
    }
    localStorage.removeItem(localStorageKey);
    localStorage.setItem(LAST, settings.current?.language ?? now);
  }

  /** Follows the languages of the system. */
  follow(): () => void {
    const changed = () => (this.#wanted = extractLocaleFromNavigator());
    window.addEventListener('languagechange', changed);
    return () => window.removeEventListener('languagechange', changed);
  }

  get direction(): 'ltr' | 'rtl' {
    return getTextDirection(this.current);
  }
}

function last(): Language {
  const stored = localStorage.getItem(LAST) ?? localStorage.getItem(localStorageKey);
  return isLocale(stored) ? stored : 'system';
}

export const language = new LanguageStore();

// Every message asks for the language where it is shown, so a new choice redraws what it concerns and nothing else.
overwriteGetLocale(() => language.current);
