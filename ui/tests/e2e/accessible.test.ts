import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';

import { sizes, themes } from '../browser';
import type { Scenario } from '../scenarios';
import { findings, nav, useStudio } from './support';

const open = useStudio();

const screens: [name: string, scenario: Scenario, act?: (page: Page) => Promise<unknown>][] = [
  ['first run', 'first-run'],
  ['empty', 'empty'],
  ['transfers', 'busy', (page) => page.getByRole('row').first().click()],
  ['details', 'busy', (page) => page.getByRole('row').first().dblclick()],
  ['add bar', 'busy', (page) => page.getByLabel('What to download').fill('re_8f31')],
  ['menu', 'busy', (page) => page.getByRole('row').first().click({ button: 'right' })],
  ['drop', 'busy', (page) => page.evaluate(() => window.fake.drag('enter', 300, 300))],
  ['failed', 'failed'],
  ['broken', 'broken'],
  [
    'library',
    'busy',
    async (page) => {
      await nav(page, 'Library');
      await page.getByRole('row', { name: /panel/ }).click();
    },
  ],
  [
    'confirmation',
    'busy',
    async (page) => {
      await nav(page, 'Library');
      await page.getByRole('row', { name: /panel/ }).click();
      await page.getByRole('button', { name: 'Delete at MAVI…' }).click();
      await page.getByRole('alertdialog').waitFor();
    },
  ],
  [
    'services',
    'broken',
    async (page) => {
      await nav(page, 'Services');
      await page
        .getByRole('region', { name: 'MAVI', exact: true })
        .getByRole('button', { name: /Enter a new key/ })
        .click();
    },
  ],
  ['settings', 'busy', (page) => nav(page, 'Settings')],
  ['palette', 'busy', (page) => page.keyboard.press('Control+k')],
  ['shortcuts', 'busy', (page) => page.keyboard.press('?')],
];

describe.each(themes)('axe finds nothing in %s', (theme) => {
  describe.each(['small', 'large'] as const)('%s', (size) => {
    test.each(screens)('%s', async (name, scenario, act) => {
      const page = await open({ scenario, theme, size });
      await act?.(page);
      await page.waitForTimeout(120);
      expect(await findings(page, name === 'drop' ? 'veil' : name === 'menu' ? 'menu' : null)).toEqual([]);
    });
  });
});

/** Whether anything sticks out of the window sideways. */
const overflow = (page: Page) =>
  page.evaluate(() => {
    // What is cut with an ellipsis ends where its box ends.
    const wide = [...document.querySelectorAll<HTMLElement>('main *:not(.truncate *)')].filter((element) => {
      const box = element.getBoundingClientRect();
      return (
        box.width > 0 &&
        (box.right > innerWidth + 1 || box.left < -1) &&
        getComputedStyle(element).visibility !== 'hidden'
      );
    });
    return wide.map((element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 30)}`);
  });

describe('text at twice the size in the smallest window', () => {
  test.each(screens.filter(([name]) => !['menu', 'drop', 'palette', 'shortcuts', 'confirmation'].includes(name)))(
    '%s stays inside',
    async (_, scenario, act) => {
      const page = await open({ scenario, size: 'small', text: 2 });
      await act?.(page);
      await page.waitForTimeout(120);
      expect(await overflow(page)).toEqual([]);
    },
  );
});

test('everything to press is at least 24 pixels high and wide', async () => {
  const page = await open({ scenario: 'busy', size: 'small' });
  for (const place of ['Transfers', 'Library', 'Services', 'Settings']) {
    await nav(page, place);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>('button, input')]
        .map((element) => ({ element, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.width > 0 && (box.width < 24 || box.height < 24))
        .map(({ element, box }) => `${element.textContent} ${element.className} ${box.width}×${box.height}`),
    );
    // The field itself may be lower than the frame that is pressed around it.
    expect(small.filter((one) => !one.startsWith('  '))).toEqual([]);
  }
});

test('forced colours keep states apart', async () => {
  const page = await open({ scenario: 'busy', forcedColors: true });
  await page.getByRole('row', { name: /interview-raw/ }).click();
  const outline = await page
    .getByRole('row', { name: /interview-raw/ })
    .evaluate((element) => getComputedStyle(element).outlineStyle);
  expect(outline).toBe('solid');
  await page.getByText('Verified · CRC32C').first().waitFor();
});

test('the page fits the window at every size', async () => {
  for (const size of Object.keys(sizes) as (keyof typeof sizes)[]) {
    const page = await open({ scenario: 'busy', size });
    expect(await overflow(page)).toEqual([]);
  }
});
