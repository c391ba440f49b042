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
export async function findings(page: Page, over: 'veil' | 'menu' | null = null): Promise<string[]> {
  const axe = new AxeBuilder({ page });
  // What lies behind the veil of a drop is meant to fade.
  if (over === 'veil') axe.exclude('.window');
  // A menu that has the focus belongs to what it was opened from, not to a landmark.
  if (over === 'menu') axe.disableRules('region');
  const { violations } = await axe
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
    .analyze();
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(' ')} ${node.failureSummary ?? ''}`),
  );
}
