/** Draws every screen and part into docs/screenshots: in light and dark, at both sizes, some in every language. */
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Page } from 'playwright-core';

import { type Opening, sizes, Studio, themes } from './browser';
import { PSEUDO } from './pseudo';
import type { Scenario } from './scenarios';
import { go, type Screen, screens } from './screens';

interface Shot {
  scenario: Scenario;
  act?: (page: Page) => Promise<unknown>;
}

const nav = (name: string) => (page: Page) =>
  page.getByRole('navigation', { name: 'Main' }).getByRole('button', { name }).click();

const shots: Record<string, Shot> = {
  'first-run': { scenario: 'first-run' },
  empty: { scenario: 'empty' },
  transfers: {
    scenario: 'busy',
    act: async (page) => {
      await page.getByLabel('What to download').fill('re_8f31c0d4b7a2');
      await page.getByText('Asset at MAVI').first().waitFor();
    },
  },
  details: {
    scenario: 'busy',
    act: async (page) => {
      await page.getByRole('row', { name: /interview-raw/ }).dblclick();
      await page.getByText('Sending to the store').waitFor();
    },
  },
  drop: {
    scenario: 'busy',
    act: async (page) => {
      const { width, height } = page.viewportSize() ?? sizes.large;
      await page.evaluate(([x, y]) => window.fake.drag('enter', x, y), [width / 2 - 60, height / 2] as const);
      await page.getByText('3.1 GB').waitFor();
      await page.waitForTimeout(200);
    },
  },
  'sent-before': {
    scenario: 'busy',
    act: async (page) => {
      const paths = ['/home/ada/keynote-final.mp4', '/home/ada/copy of theme music.flac', '/home/ada/new.mp4'];
      const { width, height } = page.viewportSize() ?? sizes.large;
      await page.evaluate(
        ({ x, y, paths }) => {
          window.fake.drag('enter', x, y, paths);
          window.fake.drag('drop', x, y, paths);
        },
        { x: width / 2 - 60, y: height / 2, paths },
      );
      await page.getByRole('alertdialog').getByRole('heading').waitFor();
    },
  },
  library: {
    scenario: 'busy',
    act: async (page) => {
      await nav('Library')(page);
      await page.getByRole('row', { name: /panel discussion/ }).click();
    },
  },
  services: {
    scenario: 'broken',
    act: async (page) => {
      await page.getByLabel('Dismiss').first().click();
      await nav('Services')(page);
      await page
        .getByRole('region', { name: 'MAVI' })
        .getByRole('button', { name: /Enter a new key/ })
        .waitFor();
      await page.getByRole('region', { name: 'Visual Search' }).getByRole('button', { name: 'Check' }).click();
      await page.getByText('Key accepted').waitFor();
      await page.getByRole('region', { name: 'Services', exact: true }).evaluate((element) => (element.scrollTop = 0));
    },
  },
  settings: { scenario: 'busy', act: nav('Settings') },
  broken: { scenario: 'broken' },
};

/** Pictures show the type of a desktop, which the machine that makes them may not have. */
async function desktopFont(): Promise<string> {
  const require = createRequire(import.meta.url);
  const file = require.resolve('@fontsource-variable/inter/files/inter-latin-wght-normal.woff2');
  const data = (await readFile(file)).toString('base64');
  return `@font-face{font-family:Stand-in;src:url(data:font/woff2;base64,${data});font-weight:100 900}
    :root{--font:Stand-in,system-ui,sans-serif!important}`;
}

const target = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'screenshots');
const only = process.argv.slice(2);
const wanted = (name: string) => only.length === 0 || only.includes(name);

/** A few screens in the other languages, those with the most words. Chinese needs a font of its own on the machine. */
const translated: { locale: string; theme: (typeof themes)[number]; size: keyof typeof sizes; shown: string[] }[] = [
  { locale: 'es', theme: 'light', size: 'small', shown: ['transfers', 'failures', 'services'] },
  { locale: 'es', theme: 'light', size: 'large', shown: ['details', 'first-run'] },
  { locale: 'zh', theme: 'dark', size: 'small', shown: ['transfers', 'settings'] },
  { locale: 'zh', theme: 'light', size: 'large', shown: ['details', 'first-run'] },
  { locale: PSEUDO, theme: 'light', size: 'small', shown: ['transfers', 'settings'] },
  { locale: PSEUDO, theme: 'dark', size: 'large', shown: ['details', 'services'] },
];
const spoken: Record<string, Screen> = {
  transfers: { scenario: 'busy' },
  failures: { scenario: 'broken' },
  details: screens['details of a failure'] ?? { scenario: 'failed' },
  services: { scenario: 'broken', act: (page) => go(page, 'services') },
  settings: { scenario: 'busy', act: (page) => go(page, 'settings') },
  'first-run': { scenario: 'first-run' },
};

await mkdir(join(target, 'languages'), { recursive: true });
await mkdir(join(target, 'parts'), { recursive: true });
const font = await desktopFont();
const studio = await Studio.open();

/** A page in the type of a desktop. */
async function stage(opening: Opening) {
  const opened = await studio.page({ ...opening, bypassPolicy: true });
  await opened.page.addStyleTag({ content: font });
  await opened.page.evaluate(() => document.fonts.load('13px Stand-in'));
  return opened;
}

async function run(page: Page) {
  for (let step = 0; step < 46; step += 1) {
    await page.evaluate(() => window.fake.step());
    await page.waitForTimeout(16);
  }
}

async function shoot(page: Page, name: string) {
  await page.waitForTimeout(250);
  await page.screenshot({ path: join(target, `${name}.png`) });
}

async function everyScreen() {
  for (const [name, { scenario, act }] of Object.entries(shots)) {
    if (!wanted(name)) continue;
    for (const theme of themes) {
      for (const size of ['small', 'large'] as const) {
        const { page, close } = await stage({ scenario, theme, size });
        await run(page);
        await act?.(page);
        await shoot(page, `${name}-${theme}-${size}`);
        await close();
      }
    }
  }
}

async function everyLanguage() {
  for (const { locale, theme, size, shown } of translated) {
    for (const [name, { scenario, act }] of Object.entries(spoken)) {
      if (!shown.includes(name)) continue;
      const { page, close } = await stage({ scenario, theme, size, locale, page: 'withPseudo' });
      await run(page);
      await act?.(page);
      await shoot(page, `languages/${locale === PSEUDO ? 'rtl' : locale}-${name}-${theme}-${size}`);
      await close();
    }
  }
}

async function everyPart() {
  for (const theme of themes) {
    const { page, close } = await stage({ scenario: 'busy', theme, page: 'gallery' });
    await page.waitForTimeout(400);
    for (const part of await page.locator('[data-part]').all()) {
      const name = await part.getAttribute('data-part');
      // Those are in `errors/`, from the real window.
      if (name !== 'errors') await part.screenshot({ path: join(target, 'parts', `${name}-${theme}.png`) });
    }
    await close();
  }
}

try {
  await everyScreen();
  if (wanted('languages')) await everyLanguage();
  if (wanted('parts')) await everyPart();
} finally {
  await studio.close();
}
