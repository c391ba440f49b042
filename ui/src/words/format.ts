/** Numbers, sizes and times as people read them, in the language of the window and the habits of their region. */
import { settings } from '../engine/settings.svelte';
import { m } from '../paraglide/messages.js';
import { getLocale } from '../paraglide/runtime.js';

const regions = new Map<string, string>();

/** The reader's regional variant of the window's language: `en-GB` where the window speaks `en`. */
function region(): string {
  const language = getLocale();
  const wanted = typeof navigator === 'undefined' ? [] : navigator.languages;
  const question = `${language} ${wanted.join()}`;
  const known = regions.get(question);
  if (known !== undefined) return known;
  const scriptOf = (tag: string) => new Intl.Locale(tag).maximize().script;
  // Someone who reads `zh-TW` and gets the window in simplified characters does not want its dates in others.
  const variant = wanted.find(
    (tag) => tag === language || (tag.startsWith(`${language}-`) && scriptOf(tag) === scriptOf(language)),
  );
  regions.set(question, variant ?? language);
  return variant ?? language;
}

const formatters = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function kept<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(
  name: string,
  make: (locale: string) => T,
): T {
  const locale = region();
  const key = `${locale} ${name}`;
  const found = formatters.get(key) as T | undefined;
  if (found) return found;
  const made = make(locale);
  formatters.set(key, made);
  return made;
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'] as const;

const onWindows = typeof navigator !== 'undefined' && /windows/i.test(navigator.userAgent);

/** Whether sizes are counted in steps of 1024: as the user says, else as the desktop's own programs do. */
function binary(): boolean {
  const units = settings.current?.units ?? 'system';
  return units === 'binary' || (units === 'system' && onWindows);
}

/** A megabyte or a mebibyte, whichever is shown. */
export const megabyte = () => (binary() ? 1024 * 1024 : 1_000_000);

/** `MB/s` as `MiB/s`, where that is what is counted. */
const named = (sign: string) => (binary() ? sign.replace(/([kKMGTP])(?=B)/, (step) => `${step.toUpperCase()}i`) : sign);

function scaled(bytes: number): { value: number; unit: (typeof UNITS)[number]; digits: number } {
  const base = binary() ? 1024 : 1000;
  let step = 0;
  let value = Math.max(0, bytes);
  // 999.5 kB would be written "1,000 kB": it belongs to the next unit.
  while (value >= 999.5 && step < UNITS.length - 1) {
    value /= base;
    step += 1;
  }
  const digits = step > 0 && value < 9.95 ? 1 : 0;
  return { value, unit: UNITS[step] ?? 'byte', digits };
}

function unitFormat(unit: string, digits: number, unitDisplay: 'short' | 'narrow' = 'short'): Intl.NumberFormat {
  return kept(
    `${unit} ${digits} ${unitDisplay}`,
    (locale) =>
      new Intl.NumberFormat(locale, {
        style: 'unit',
        unit,
        unitDisplay,
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      }),
  );
}

/** A language's own sign for a unit: `MB/s`. */
function signOf(unit: string, unitDisplay: 'short' | 'narrow' = 'short'): string {
  const parts = unitFormat(unit, 0, unitDisplay).formatToParts(14);
  return parts.find((part) => part.type === 'unit')?.value ?? '';
}

function measured(value: number, unit: string, digits: number): string {
  if (!unit.startsWith('byte')) {
    if (!binary()) return unitFormat(unit, digits).format(value);
    const parts = unitFormat(unit, digits).formatToParts(value);
    return parts.map((part) => (part.type === 'unit' ? named(part.value) : part.value)).join('');
  }
  // The short form spells "14 byte" out, the narrow one drops the space ("14B"): the sign of the one, the space of the other.
  const sign = signOf(unit, 'narrow');
  return unitFormat(`kilo${unit}`, digits)
    .formatToParts(value)
    .map((part) => (part.type === 'unit' ? sign : part.value))
    .join('');
}

/** `1.2 GB`, `816 MB`, `12 kB`, `14 B`. */
export function bytes(count: number): string {
  const { value, unit, digits } = scaled(count);
  return measured(value, unit, digits);
}

/** `38 MB/s`. */
export function speed(bytesPerSecond: number): string {
  const { value, unit, digits } = scaled(bytesPerSecond);
  return measured(value, `${unit}-per-second`, digits);
}

/** The unit of a speed limit, for beside a field: `MB/s`. */
export const speedUnit = () => named(signOf('megabyte-per-second'));

/** `1,204`. */
export function count(value: number): string {
  return kept('count', (locale) => new Intl.NumberFormat(locale)).format(value);
}

/** `68%`. Rounds down: 100 % is said only when all of it is there. */
export function percent(fraction: number): string {
  return kept('percent', (locale) => new Intl.NumberFormat(locale, { style: 'percent' })).format(
    Math.floor(Math.min(1, Math.max(0, fraction)) * 100) / 100,
  );
}

/** `12 s`, `3 min`, `1 h 5 min`, `2 d`. */
export function duration(seconds: number): string {
  if (seconds < 1) return m.less_than_second();
  if (seconds < 60) return m.seconds({ n: count(Math.round(seconds)) });
  const all = Math.round(seconds / 60);
  if (all < 60) return m.minutes({ n: count(all) });
  const hours = Math.floor(all / 60);
  if (hours >= 48) return m.days({ n: count(Math.round(hours / 24)) });
  const rest = all % 60;
  return rest === 0 ? m.hours({ n: count(hours) }) : m.hours_minutes({ h: count(hours), n: count(rest) });
}

/** `09:31`. */
export function clock(at: number): string {
  return kept('clock', (locale) => new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' })).format(at);
}

/** `09:31:02`. */
export function clockSeconds(at: number): string {
  return kept(
    'clock seconds',
    (locale) => new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  ).format(at);
}

/** `09:31:02`, or `19 Nov, 09:31` for another day. */
export function stamp(at: number, now: number): string {
  if (new Date(at).toDateString() === new Date(now).toDateString()) return clockSeconds(at);
  return kept(
    'stamp',
    (locale) => new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }),
  ).format(at);
}

/** `21 November 2026 at 09:31:02`, for tooltips. */
export function moment(at: number): string {
  return kept('moment', (locale) => new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'medium' })).format(
    at,
  );
}

/** `2 minutes ago`, `09:40`, `yesterday 18:02`, `19 Nov`, `19 Nov 2024`. */
export function when(at: number, now: number): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return m.just_now();
  if (minutes < 60) {
    return kept('ago', (locale) => new Intl.RelativeTimeFormat(locale, { numeric: 'always', style: 'long' })).format(
      -minutes,
      'minute',
    );
  }
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (at >= midnight) return clock(at);
  if (at >= new Date(midnight - 1).setHours(0, 0, 0, 0)) return m.yesterday_at({ time: clock(at) });
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return kept(
    sameYear ? 'day' : 'day and year',
    (locale) =>
      new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: sameYear ? undefined : 'numeric' }),
  ).format(at);
}

/** The last part of a path: the folder or file itself. */
export function lastPart(path: string): string {
  return (
    path
      .replace(/[\\/]+$/, '')
      .split(/[\\/]/)
      .pop() || path
  );
}

/** A path in one piece and in its own order, also where the text around it runs from right to left. */
export const isolated = (path: string) => `\u2066${path}\u2069`;

/** A whole sentence from a clause: capital first letter, full stop, quotes where a terminal has backticks. */
export function sentence(text: string, stop = '.'): string {
  const trimmed = text.trim().replace(/`([^`]*)`/g, '“$1”');
  if (!trimmed) return '';
  const capital = trimmed.charAt(0).toLocaleUpperCase(region()) + trimmed.slice(1);
  return /[.!?…。！？]$/.test(capital) ? capital : `${capital}${stop}`;
}
