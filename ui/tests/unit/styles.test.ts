import { readdirSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

const source = new URL('../../src/', import.meta.url);
const styles = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(svelte|css)$/.test(file))
  .map((file) => {
    const text = readFileSync(new URL(file, source), 'utf8');
    return { file, text: file.endsWith('.css') ? text : (/<style>([\s\S]*)<\/style>/.exec(text)?.[1] ?? '') };
  });

/** Declarations that name a side of the screen instead of a side of the text, so that they stay behind when the text turns round. */
function physical(declaration: string): boolean {
  const [property = '', value = ''] = declaration.split(/:\s*/);
  if (/^(left|right)$|(^|-)(left|right)(-|$)/.test(property)) return true;
  if (/^(text-align|float|clear)$/.test(property)) return /\b(left|right)\b/.test(value);
  if (!/^(padding|margin|inset|border-width)$/.test(property)) return false;
  // Spaces inside brackets belong to one value.
  const [, end, , start] = value.replace(/\([^()]*(\([^()]*\)[^()]*)*\)/g, '').split(/\s+/);
  return start !== undefined && start !== end;
}

test('styles follow the direction of the text', () => {
  const found = styles.flatMap(({ file, text }) =>
    [...text.replace(/\/\*[\s\S]*?\*\//g, '').matchAll(/([\w-]+:[^;{}]+);/g)]
      .map((match) => (match[1] ?? '').trim())
      .filter(physical)
      .map((declaration) => `${file}: ${declaration}`),
  );
  expect(found).toEqual([]);
});

test('the check sees what it is for', () => {
  const bad = ['left: 0', 'margin-left: 1px', 'padding: 0 1px 0 2px', 'text-align: left', 'border-right: 0'];
  expect(bad.filter(physical)).toEqual(bad);
  expect(
    ['padding: 0 calc(1px + (2px * 3)) 4px', 'inset-inline-start: 0', 'text-align: start'].filter(physical),
  ).toEqual([]);
});
