/** Draws every screen in light and dark at both sizes into docs/screenshots. */
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Page } from 'playwright-core';

import { sizes, Studio, themes } from './browser';
import type { Scenario } from './scenarios';

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
await mkdir(target, { recursive: true });
const font = await desktopFont();
const studio = await Studio.open();
try {
  for (const [name, { scenario, act }] of Object.entries(shots)) {
    if (only.length > 0 && !only.includes(name)) continue;
    for (const theme of themes) {
      for (const size of ['small', 'large'] as const) {
        const { page, close } = await studio.page({ scenario, theme, size, bypassPolicy: true });
        await page.addStyleTag({ content: font });
        await page.evaluate(() => document.fonts.load('13px Stand-in'));
        for (let step = 0; step < 46; step += 1) {
          await page.evaluate(() => window.fake.step());
          await page.waitForTimeout(16);
        }
        await act?.(page);
        await page.waitForTimeout(250);
        await page.screenshot({ path: join(target, `${name}-${theme}-${size}.png`) });
        await close();
      }
    }
  }
} finally {
  await studio.close();
}
