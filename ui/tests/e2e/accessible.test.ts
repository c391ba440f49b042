import { describe, expect, test } from 'vitest';

import { screens } from '../screens';
import { nav, overflow, settled, speak, useStudio } from './support';

const open = useStudio();

describe('text at twice the size in the smallest window', () => {
  const over = ['drop', 'palette', 'shortcuts', 'confirmation', 'a link', 'a refused link'];
  test.each(Object.entries(screens).filter(([name, screen]) => screen.over !== 'menu' && !over.includes(name)))(
    '%s stays inside and can be scrolled to',
    async (_, screen) => {
      const page = await open({ scenario: screen.scenario, size: 'small', text: 2 });
      await screen.act?.(page);
      for (const locale of ['en', 'es', 'zh']) {
        await speak(page, locale);
        await settled(page);
        expect(await overflow(page), locale).toEqual([]);
      }
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

describe('forced colours', () => {
  test('keep states apart', async () => {
    const page = await open({ scenario: 'busy', forcedColors: true });
    await page.getByRole('row', { name: /interview-raw/ }).click();
    const styleOf = (selector: string, property: string) =>
      page
        .locator(selector)
        .first()
        .evaluate((element, wanted) => getComputedStyle(element).getPropertyValue(wanted), property);
    expect(await styleOf('.row.selected', 'outline-style')).toBe('solid');
    expect(await styleOf('.tabs button[aria-pressed="true"]', 'outline-style')).toBe('solid');
    expect(await styleOf('.badge', 'border-top-style')).toBe('solid');
    expect(await styleOf('.row .bar', 'border-top-style')).toBe('solid');
    // What has arrived stands out from what has not.
    expect(await styleOf('.row .fill', 'background-color')).not.toBe(await styleOf('.row .bar', 'background-color'));
    expect(await styleOf('.place[aria-current="page"]', 'border-top-color')).not.toBe(
      await styleOf('.place:not([aria-current])', 'border-top-color'),
    );
    await page.getByText('Verified · CRC32C').first().waitFor();
    await nav(page, 'Settings');
    expect(await styleOf('.toggle[data-state="checked"] .toggle-thumb', 'background-color')).not.toBe(
      await styleOf('.toggle[data-state="unchecked"] .toggle-thumb', 'background-color'),
    );
  });

  test('show where the focus is', async () => {
    const page = await open({ scenario: 'busy', forcedColors: true });
    for (let step = 0; step < 20; step += 1) {
      await page.keyboard.press('Tab');
      const seen = await page.evaluate(() => {
        const outlined = (element: Element | null) =>
          element !== null &&
          getComputedStyle(element).outlineStyle !== 'none' &&
          getComputedStyle(element).outlineWidth !== '0px';
        const focused = document.activeElement;
        // A field shows it on its frame, the list on the row that the keys act on.
        return (
          focused === document.body ||
          outlined(focused) ||
          outlined(focused?.closest('.add, .search, .number') ?? null) ||
          outlined(focused?.querySelector('.cursor') ?? null)
        );
      });
      expect(seen, `after ${step + 1} steps`).toBe(true);
    }
  });
});

test('less motion: nothing moves by itself and nothing glides', async () => {
  const page = await open({ scenario: 'busy', reducedMotion: true });
  await page.getByRole('row', { name: /interview-raw/ }).dblclick();
  const slow = await page.evaluate(() => {
    const seconds = (list: string) => Math.max(...list.split(',').map((one) => parseFloat(one)));
    return [...document.querySelectorAll('*')]
      .filter((element) => {
        const style = getComputedStyle(element);
        const runs = style.animationName !== 'none' && seconds(style.animationDuration) > 0.01;
        return runs || seconds(style.transitionDuration) > 0.01;
      })
      .map((element) => `${element.tagName} ${element.getAttribute('class') ?? ''}`);
  });
  expect(slow).toEqual([]);
  const sweep = page.getByRole('row', { name: /VI5830/ }).locator('.sweep');
  const before = await sweep.boundingBox();
  await page.waitForTimeout(300);
  expect(await sweep.boundingBox()).toEqual(before);
});
