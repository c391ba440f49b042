import {
  baseLocale,
  extractLocaleFromNavigator,
  getTextDirection,
  isLocale,
  type Locale,
  localStorageKey,
  locales,
  overwriteGetLocale,
  setLocale,
} from './paraglide/runtime.js';

export type Language = 'system' | Locale;

/** Every language by its own name, so that whoever ended up in a wrong one finds the way back. */
const NAMES: Partial<Record<Locale, string>> = { en: 'English', es: 'Español', zh: '简体中文' };

export const languages = locales.map((value) => ({ value, label: NAMES[value] ?? value }));

/** The language of the window. The page keeps the choice itself: the engine has no setting for it. */
class LanguageStore {
  #chosen = $state<Language>(kept());
  #wanted = $state.raw<Locale | undefined>(extractLocaleFromNavigator());
  readonly current: Locale = $derived(this.#chosen === 'system' ? (this.#wanted ?? baseLocale) : this.#chosen);

  get chosen(): Language {
    return this.#chosen;
  }

  choose(language: Language) {
    if (language === 'system') localStorage.removeItem(localStorageKey);
    else void setLocale(language, { reload: false });
    this.#chosen = language;
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

function kept(): Language {
  const stored = localStorage.getItem(localStorageKey);
  return isLocale(stored) ? stored : 'system';
}

export const language = new LanguageStore();

// Every message asks for the language where it is shown, so a new choice redraws what it concerns and nothing else.
overwriteGetLocale(() => language.current);
