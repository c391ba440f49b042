import type { Page } from 'playwright-core';
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
  await page.getByRole('combobox', { name: /^Tema: Según el sistema/ }).waitFor();

  await page.reload();
  await page.getByRole('navigation', { name: 'Principal' }).getByRole('button', { name: 'Ajustes' }).click();
  await page.getByRole('combobox', { name: /^Idioma/ }).click();
  await page.getByRole('option', { name: 'Según el sistema' }).click();
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

test('a desktop whose locale is not installed is met in the language of its dialogs', async () => {
  const page = await open({ scenario: 'empty', locale: 'en-US' });
  await page.addInitScript(() => (window.systemLanguage = 'es'));
  await page.reload();
  await page.getByText(/Suelta archivos/).waitFor();
});

test('the choice that an earlier window kept by itself moves into the settings', async () => {
  const page = await open({ scenario: 'failed' });
  await page.evaluate(() => localStorage.setItem('PARAGLIDE_LOCALE', 'es'));
  await page.evaluate(() => localStorage.removeItem('language'));
  await page.reload();
  await page.getByRole('navigation', { name: 'Principal' }).waitFor();
  expect(await lastCall(page, 'save_settings')).toMatchObject({ changes: { language: 'es' } });
  await page.waitForFunction(() => localStorage.getItem('PARAGLIDE_LOCALE') === null);
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('es');
});

test('the default service keeps its whole name in the side bar', async () => {
  for (const size of ['large', 'small'] as const) {
    const page = await open({ scenario: 'empty', locale: 'es-ES', size });
    const service = page.getByRole('navigation', { name: 'Los servicios' }).getByRole('button', { name: /^Entorno/ });
    await service.locator('.default').waitFor();
    const name = service.getByText('Entorno de pruebas', { exact: true });
    const [words, button] = [await name.boundingBox(), await service.boundingBox()];
    if (!words || !button) throw new Error('nothing is shown');
    // Nothing is cut: neither by an ellipsis nor by the button.
    expect(await name.evaluate((one) => getComputedStyle(one).textOverflow)).toBe('clip');
    expect(await name.evaluate((one) => one.scrollWidth <= one.clientWidth || one.clientWidth === 0)).toBe(true);
    expect(words.x + words.width).toBeLessThan(button.x + button.width);
    expect(words.y + words.height).toBeLessThanOrEqual(button.y + button.height);
    expect(await service.getAttribute('title')).toContain('Predeterminado');
  }
});

test('failures say what happened, why and what to do in the language of the window', async () => {
  const page = await open({ scenario: 'broken', locale: 'es-ES' });
  const row = page.getByRole('row', { name: /archive-2019/ });
  await row.getByText('No hay suficiente espacio en el disco. Hacen falta 1,4 GB más en «/media/ada/Data».').waitFor();
  await row.getByText('Libera espacio o elige otra carpeta; lo que ha llegado se conserva.').waitFor();
  await page.getByText('MAVI no aceptó la clave.').first().waitFor();
  await page.getByText('Se retomaron 3 transferencias donde estaban.').waitFor();
  await row.getByRole('button', { name: 'Reintentar' }).click();
  await lastCall(page, 'retry');
});

test('what a service said stays as it came, and is marked so', async () => {
  const page = await open({ scenario: 'failed', locale: 'es-ES' });
  const row = page.getByRole('row', { name: /^take 5/ });
  await row.getByText('MAVI lo rechazó.').waitFor();
  const quoted = row.getByText('“The title is too long”');
  expect(await quoted.evaluate((element) => [element.tagName, element.getAttribute('lang')])).toEqual(['BDI', 'und']);
  await row.dblclick();
  const reason = row.getByText('code 0001, HTTP 400');
  expect(await reason.evaluate((element) => [element.tagName, element.getAttribute('lang')])).toEqual(['BDI', 'und']);
});

test('the history is in the language of the window, and older lines are marked as English', async () => {
  const page = await open({ scenario: 'busy', locale: 'zh-CN' });
  await page.getByRole('row', { name: /interview-raw/ }).dblclick();
  await page.getByText('已由MAVI签名').waitFor();
  await page.getByText(/^内容未收齐，连接就中断了；2\s*秒钟?后再次尝试$/).waitFor();
  const older = page.getByText('Sending to the store');
  expect(await older.evaluate((element) => element.getAttribute('lang'))).toBe('en');
});

/** Everything that the rows say, but what is marked as another language, names, and paths in quotes. */
const said = (page: Page) =>
  page.getByRole('row').evaluateAll((rows) =>
    rows.map((row) => {
      const copy = row.cloneNode(true) as Element;
      copy.querySelectorAll('[lang], .name').forEach((other) => other.remove());
      const names = [...copy.querySelectorAll('[aria-label]')].map((one) => one.getAttribute('aria-label'));
      const all = [copy.textContent, row.getAttribute('aria-label'), ...names].join(' ');
      return all.replace(/[“«]\/[^”»]*[”»]/g, '').replace(/take \d+\.mp4/g, '');
    }),
  );

describe.each([
  [
    'es-ES',
    /\b(the|and|of|to|not|was|is|it|its|with|what|try|again|check|choose|file|link|server|key|disk|refused|kept)\b/i,
  ],
  // Only names of products, units and protocols, and ids, are in Latin letters.
  ['zh-CN', /\b(?!MAVI|Visual|Search|Ferry|HTTP|CRC32C|re_000|URL)[a-z][a-z_]{2,}/i],
] as const)('failed rows in %s', (locale, english) => {
  test('hold no English', async () => {
    const page = await open({ scenario: 'failed', locale });
    await page.setViewportSize({ width: 1440, height: 3200 });
    await page.getByRole('row', { name: /^take 26/ }).waitFor();
    const rows = await said(page);
    expect(rows.length).toBeGreaterThanOrEqual(26);
    expect(rows.filter((row) => english.test(row))).toEqual([]);
  });
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
