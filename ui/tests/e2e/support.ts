import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';

import { type Opening, Studio } from '../browser';
import type { Fake } from '../fake-engine';

/** One browser for the tests of a file, a fresh page for each; a page that complains fails its test. */
export function useStudio() {
  let studio: Studio;
  let open: { close: () => Promise<void>; complaints: string[] }[] = [];

  beforeAll(async () => {
    studio = await Studio.open();
  });

  afterEach(async () => {
    const complaints = open.flatMap((one) => one.complaints);
    for (const one of open) await one.close();
    open = [];
    expect(complaints).toEqual([]);
  });

  afterAll(() => studio.close());

  return async (opening: Opening): Promise<Page> => {
    const opened = await studio.page({ reducedMotion: true, ...opening });
    open.push(opened);
    return opened.page;
  };
}

/** What the page asked the engine to do, in order. */
export const calls = (page: Page): Promise<Fake['calls']> => page.evaluate(() => window.fake.calls);

export async function lastCall(page: Page, command: string): Promise<unknown> {
  await page.waitForFunction((name) => window.fake.calls.some((call) => call.command === name), command);
  return (await calls(page)).findLast((call) => call.command === command)?.args;
}

export const nav = (page: Page, name: string) =>
  page.getByRole('navigation', { name: 'Main' }).getByRole('button', { name }).click();

/** Everything that axe finds, as one line each. */
export async function findings(page: Page, over?: 'veil' | 'menu'): Promise<string[]> {
  const axe = new AxeBuilder({ page }).options({ resultTypes: ['violations'] });
  // What lies behind the veil of a drop is meant to fade.
  if (over === 'veil') axe.exclude('.panes');
  // A menu that has the focus belongs to what it was opened from, not to a landmark.
  if (over === 'menu') axe.disableRules('region');
  const { violations } = await axe
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
    .analyze();
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(' ')} ${node.failureSummary ?? ''}`),
  );
}

/** Changes the language of the desktop under the open window. */
export async function speak(page: Page, locale: string): Promise<void> {
  await page.evaluate((tag) => {
    Object.defineProperty(navigator, 'languages', { configurable: true, get: () => [tag] });
    window.dispatchEvent(new Event('languagechange'));
  }, locale);
  await page.waitForFunction((tag) => document.documentElement.lang === tag, locale);
}

/** Once the page has taken that theme. */
export const themed = (page: Page, theme: string) =>
  page.waitForFunction((wanted) => document.documentElement.dataset.theme === wanted, theme);

/** Once everything that a change set off has been drawn. */
export const settled = (page: Page) => page.waitForTimeout(150);

/** Whatever sticks out of the window sideways, or is wider than the box that should hold its words. */
export const overflow = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    // What is cut with an ellipsis ends where its box ends; what nobody sees does not stick out.
    const shown = [...document.querySelectorAll<HTMLElement>('.window *:not(.truncate *, .visually-hidden)')].filter(
      (element) => element.getBoundingClientRect().width > 0 && getComputedStyle(element).visibility !== 'hidden',
    );
    const outside = shown.filter((element) => {
      const box = element.getBoundingClientRect();
      return box.right > innerWidth + 1 || box.left < -1;
    });
    const tight = shown.filter(
      (element) => element.matches('button, .badge, label, dt') && element.scrollWidth > element.clientWidth + 1,
    );
    // The side bar and the page each keep to their own half.
    const [side, main] = ['.side', '.main'].map((one) => document.querySelector(one)?.getBoundingClientRect());
    const across = shown.filter((element) => {
      const home = element.closest('.side') ? side : element.closest('.main') ? main : undefined;
      const box = element.getBoundingClientRect();
      return home !== undefined && (box.right > home.right + 1 || box.left < home.left - 1);
    });
    return [...new Set([...outside, ...across, ...tight])].map(
      (element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 30)}`,
    );
  });
