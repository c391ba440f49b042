import { readdirSync, readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { SIZES } from '../../src/words/phrases';

interface Variants {
  declarations: string[];
  selectors: string[];
  match: Record<string, string>;
}
type Messages = Record<string, string | [Variants]>;

const read = (path: string): unknown => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'));
const settings = read('project.inlang/settings.json') as { baseLocale: string; locales: string[] };

function messages(locale: string): Messages {
  const { $schema, ...all } = read(`messages/${locale}.json`) as Messages;
  expect($schema).toBeTypeOf('string');
  return all;
}

const base = messages(settings.baseLocale);
const others = settings.locales.filter((locale) => locale !== settings.baseLocale);

/** What a message says, in each of its plural forms. */
const texts = (message: string | [Variants]) =>
  typeof message === 'string' ? [message] : Object.values(message[0].match);
const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((one) => one[1]).sort();

/** What reads the same in another language on purpose: names, signs and units. */
const SAME = new Set([
  'app_name',
  'asset_no_size',
  'seconds',
  'minutes',
  'hours',
  'hours_minutes',
  'days',
  'of_name',
  'full_stop',
  'fact_error',
  'say_what_and_why',
]);

/** The words of the glossary: where English uses the first, the others use theirs. */
const GLOSSARY: { en: RegExp; es: RegExp; zh: RegExp }[] = [
  { en: /\btransfers?\b/i, es: /transferencia/i, zh: /传输/ },
  { en: /\bservices?\b/i, es: /servicio/i, zh: /服务/ },
  { en: /\bassets?\b/i, es: /recurso/i, zh: /资源/ },
  { en: /\blibrary\b/i, es: /biblioteca/i, zh: /资料库/ },
  { en: /\bsign(ed|ing)?\b/i, es: /firm/i, zh: /签名/ },
  { en: /\bverif(y|ied|ying)\b/i, es: /verific/i, zh: /校验/ },
  { en: /\bconfirm(ed|ation)?\b/i, es: /confirm/i, zh: /确认/ },
  { en: /\bprepar/i, es: /prepar/i, zh: /准备/ },
  { en: /\bsandbox\b/i, es: /prueba/i, zh: /沙盒/ },
  { en: /\bkeys?\b/i, es: /clave/i, zh: /密钥/ },
  { en: /\bchecksum/i, es: /suma de comprobación/i, zh: /校验和/ },
  { en: /\bpause/i, es: /paus/i, zh: /暂停/ },
  { en: /\bresume\b/i, es: /reanudar/i, zh: /继续/ },
  { en: /\bpart file/i, es: /archivo parcial/i, zh: /未完成/ },
  { en: /\bids?\b/i, es: /\bID\b/, zh: /ID/ },
];

const types = readFileSync(new URL('../../src/engine/types.ts', import.meta.url), 'utf8');

/** The right-hand side of one of the engine's types, as `cargo xtask types` wrote it. */
function written(type: string): string {
  const found = new RegExp(`^export type ${type} = (.+);$`, 'm').exec(types)?.[1];
  if (found === undefined) throw new Error(`the engine has no type ${type}`);
  return found;
}

const words = (type: string) => [...written(type).matchAll(/"(\w+)"/g)].flatMap((one) => one[1] ?? []);

/** Every sentence of the engine with its blanks and their types. */
const sentences = [...written('Phrase').matchAll(/\{ "is": "(\w+)"(?:, (.*?))? \}/g)].map(
  ([, name = '', blanks = '']) => ({
    name,
    blanks: [...blanks.matchAll(/(\w+): (\w+)/g)].map(([, blank = '', type = '']) => ({ blank, type })),
  }),
);

/** What a sentence has for the terminal only. */
const NOT_IN_THE_WINDOW = new Set(['file_failed.doing', 'transfer_unknown.id', 'enter_key_of.id', 'enter_key_anew.id']);

describe.each(settings.locales)('the engine in %s', (locale) => {
  const all = messages(locale);

  test.each([
    ['Code', 'error'],
    ['Stage', 'stage'],
    ['WaitReason', 'wait'],
    ['Remedy', 'remedy'],
  ])('every %s has a message', (type, prefix) => {
    const names = words(type).map((name) => `${prefix}_${name}`);
    expect(names.length).toBeGreaterThan(4);
    expect(names.filter((name) => !(name in all))).toEqual([]);
  });

  test('every sentence has a message with its blanks, and no message is left over', () => {
    expect(sentences.length).toBeGreaterThan(250);
    const said = Object.keys(all).filter((name) => name.startsWith('say_'));
    expect(said.sort()).toEqual(sentences.map(({ name }) => `say_${name}`).sort());
    for (const { name, blanks } of sentences) {
      const wanted = blanks.map(({ blank }) => blank).filter((blank) => !NOT_IN_THE_WINDOW.has(`${name}.${blank}`));
      for (const text of texts(all[`say_${name}`] ?? '')) expect(placeholders(text), name).toEqual(wanted.sort());
    }
  });

  test('no message speaks to a terminal', () => {
    const stray = Object.entries(all).filter(([, message]) =>
      texts(message).some((text) => /`|--\w|FERRY_/.test(text)),
    );
    expect(stray).toEqual([]);
  });
});

test('a number in a sentence is shown as what it is', () => {
  const sizes = new Set<string>();
  const others = new Set<string>();
  for (const { blank, type } of sentences.flatMap(({ blanks }) => blanks)) {
    if (type === 'Size') sizes.add(blank);
    else others.add(blank);
    expect(type === 'Seconds', blank).toBe(blank === 'seconds');
    expect(type === 'Peer', blank).toBe(blank === 'service');
  }
  expect([...sizes].sort()).toEqual([...SIZES].sort());
  expect([...sizes].filter((blank) => others.has(blank))).toEqual([]);
});

test('there is a file for each language, and no other', () => {
  const files = readdirSync(new URL('../../messages', import.meta.url)).sort();
  expect(files).toEqual(settings.locales.map((locale) => `${locale}.json`).sort());
});

test('the base language has no empty message', () => {
  expect(Object.entries(base).filter(([, message]) => texts(message).some((text) => !text.trim()))).toEqual([]);
});

describe.each(others)('%s', (locale) => {
  const all = messages(locale);
  const names = Object.keys(base).filter((name) => name in all);

  test('has every message and no other', () => {
    expect(Object.keys(all).sort()).toEqual(Object.keys(base).sort());
  });

  test('fills in the same blanks', () => {
    const wrong = names.filter((name) => {
      const wanted = placeholders(texts(base[name] ?? '').at(-1) ?? '').join();
      return texts(all[name] ?? '').some((text) => placeholders(text).join() !== wanted);
    });
    expect(wrong).toEqual([]);
  });

  test('has each of its plural forms', () => {
    const forms = new Intl.PluralRules(locale).resolvedOptions().pluralCategories.map((one) => `countPlural=${one}`);
    for (const name of names) {
      const [ours, theirs] = [base[name], all[name]];
      expect(typeof theirs, name).toBe(typeof ours);
      if (typeof theirs !== 'object' || typeof ours !== 'object') continue;
      expect(Object.keys(theirs[0].match).sort(), name).toEqual([...forms].sort());
      expect(theirs[0].declarations, name).toEqual(ours[0].declarations);
    }
  });

  test('is translated: nothing is left empty or in English', () => {
    const left = names.filter((name) => {
      const words = texts(all[name] ?? '');
      return (
        words.some((text) => !text.trim() || /\b(TODO|FIXME|XXX)\b/.test(text)) ||
        (!SAME.has(name) && JSON.stringify(all[name]) === JSON.stringify(base[name]))
      );
    });
    expect(left).toEqual([]);
  });

  test('keeps to the glossary', () => {
    const strays = names.flatMap((name) =>
      GLOSSARY.filter((entry) => {
        const said = texts(base[name] ?? '')
          .join(' ')
          .replace(/\{\w+\}/g, '');
        const word = entry[locale as keyof typeof entry];
        return entry.en.test(said) && !texts(all[name] ?? '').every((text) => word.test(text));
      }).map((entry) => `${name}: ${entry.en.source} in “${texts(all[name] ?? '').join(' | ')}”`),
    );
    expect(strays).toEqual([]);
  });
});
