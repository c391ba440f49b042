import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import * as format from '../../src/words/format';
import { baseLocale, overwriteGetLocale } from '../../src/paraglide/runtime.js';
import { settings } from '../../src/engine/settings.svelte';
import type { Units } from '../../src/engine/types';
import { world } from '../scenarios';

/** The table that terminal, tray and log are held to as well. */
const sizes = JSON.parse(readFileSync(new URL('../../../tests/fixtures/sizes.json', import.meta.url), 'utf8')) as [
  bytes: number,
  decimal: string,
  binary: string,
][];

describe('sizes', () => {
  test.each(sizes)('%d bytes read as %s or %s', (bytes, decimal, binary) => {
    const { settings: given } = world('empty').opening;
    // A language may put a space between number and sign that does not break.
    const read = (units: Units) => {
      settings.set({ ...given, units });
      return format.bytes(bytes).replace(/\s/g, ' ');
    };
    expect([read('decimal'), read('binary')]).toEqual([decimal, binary]);
    settings.set(given);
  });

  test('a speed says its unit', () => {
    expect(format.speed(38_000_000)).toBe('38 MB/s');
    expect(format.speed(0)).toBe('0 B/s');
    expect(format.speed(14)).toBe('14 B/s');
    expect(format.speedUnit()).toBe('MB/s');
  });

  test.each([
    ['es', '14 B', '14 B/s', '1,2 GB', 'MB/s'],
    ['zh', '14 B', '14 B/秒', '1.2 GB', 'MB/秒'],
  ] as const)('%s has its own signs, with a space before them', (locale, small, slow, large, unit) => {
    overwriteGetLocale(() => locale);
    const plain = (text: string) => text.replace(/\s/g, ' ');
    expect(plain(format.bytes(14))).toBe(small);
    expect(plain(format.speed(14))).toBe(slow);
    expect(plain(format.bytes(1_200_000_000))).toBe(large);
    expect(format.speedUnit()).toBe(unit);
    overwriteGetLocale(() => baseLocale);
  });
});

describe('percent', () => {
  test('rounds down, so that 100 % is said only of all', () => {
    expect(format.percent(0.9999)).toBe('99%');
    expect(format.percent(1)).toBe('100%');
    expect(format.percent(-0.2)).toBe('0%');
  });
});

describe('durations', () => {
  test.each([
    [0.4, 'a moment'],
    [12, '12 s'],
    [59.4, '59 s'],
    [60, '1 min'],
    [3_599, '1 h'],
    [3_900, '1 h 5 min'],
    [200_000, '2 d'],
  ])('%d seconds read as %s', (seconds, text) => {
    expect(format.duration(seconds)).toBe(text);
  });
});

describe('moments', () => {
  const now = new Date(2026, 10, 21, 9, 40).getTime();

  test.each([
    [now - 20_000, 'just now'],
    [now - 120_000, '2 minutes ago'],
    [new Date(2026, 10, 21, 7, 5).getTime(), '07:05'],
    [new Date(2026, 10, 20, 18, 2).getTime(), 'yesterday 18:02'],
  ])('%d reads as %s', (at, text) => {
    expect(format.when(at, now).replace(/\s?(AM|PM)/, '')).toContain(text.replace('18:02', ''));
  });

  test('an earlier year is named', () => {
    expect(format.when(new Date(2024, 3, 1).getTime(), now)).toContain('2024');
    expect(format.when(new Date(2026, 3, 1).getTime(), now)).not.toContain('2026');
  });
});

describe('words', () => {
  test('a clause becomes a sentence', () => {
    expect(format.sentence('try again later')).toBe('Try again later.');
    expect(format.sentence('Is it there?')).toBe('Is it there?');
    expect(format.sentence('')).toBe('');
  });

  test('the last part of a path, on every platform', () => {
    expect(format.lastPart('/home/ada/Downloads/')).toBe('Downloads');
    expect(format.lastPart('C:\\Users\\Ada\\Downloads')).toBe('Downloads');
    expect(format.lastPart('/')).toBe('/');
  });
});
