import { describe, expect, test } from 'vitest';

import { lastCall, nav, useStudio } from './support';

const open = useStudio();

test('a language is chosen, seen at once and kept', async () => {
  const page = await open({ scenario: 'failed' });
  await nav(page, 'Settings');
  await page.getByRole('combobox', { name: /^Language/ }).click();
  await page.getByRole('option', { name: 'Español' }).click();
  await page.getByRole('heading', { name: 'Ajustes', exact: true }).waitFor();
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('es');
  const choice = page.getByRole('combobox', { name: /^Idioma: Español/ });
  await choice.waitFor();
  expect(await choice.evaluate((element) => element === document.activeElement)).toBe(true);
  await page.getByRole('combobox', { name: /^Tema: Como el sistema/ }).waitFor();

  await page.reload();
  await page.getByRole('navigation', { name: 'Principal' }).getByRole('button', { name: 'Ajustes' }).click();
  await page.getByRole('combobox', { name: /^Idioma/ }).click();
  await page.getByRole('option', { name: 'Como el sistema' }).click();
  await page.getByRole('heading', { name: 'Settings', exact: true }).waitFor();
  await page.reload();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
});

describe.each([
  ['es-MX', 'es', /Suelta archivos/],
  ['zh-CN', 'zh', /将文件拖放/],
  ['zh-TW', 'zh', /将文件拖放/],
  ['fr-FR', 'en', /Drop files anywhere/],
] as const)('a desktop in %s', (locale, lang, words) => {
  test('is met in its language, or in English', async () => {
    const page = await open({ scenario: 'empty', locale });
    await page.getByText(words).waitFor();
    expect(await page.evaluate(() => document.documentElement.lang)).toBe(lang);
  });
});

test('failures have a headline and a way out in the language of the window, then the engine’s own words', async () => {
  const page = await open({ scenario: 'broken', locale: 'es-ES' });
  const row = page.getByRole('row', { name: /archive-2019/ });
  await row.getByText('El disco está lleno.').waitFor();
  const engine = row.getByText('1.4 GB more is needed');
  expect(await engine.evaluate((element) => element.closest('[lang]')?.getAttribute('lang'))).toBe('en');
  await page.getByText('MAVI: La clave no fue aceptada.').waitFor();
  await row.getByRole('button', { name: 'Reintentar' }).click();
  await lastCall(page, 'retry');
});

test('counts take the form that their language asks for', async () => {
  const page = await open({ scenario: 'done', locale: 'es-ES' });
  await page.getByRole('row', { name: /keynote-final/ }).click();
  await page.keyboard.press('Delete');
  await page.getByText('Se ha quitado 1 transferencia', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Descartar' }).click();
  await page.getByRole('row').first().click();
  await page.keyboard.press('Shift+ArrowDown');
  await page.keyboard.press('Delete');
  await page.getByText('Se han quitado 2 transferencias', { exact: true }).waitFor();
});
