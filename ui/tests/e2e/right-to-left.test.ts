import { describe, expect, test } from 'vitest';

import { sizes } from '../browser';
import { PSEUDO } from '../pseudo';
import { screens } from '../screens';
import { overflow, settled, useStudio } from './support';

const open = useStudio();

describe('from right to left', () => {
  test.each(Object.entries(screens))('%s turns round and stays inside', async (_, screen) => {
    const page = await open({ scenario: screen.scenario, size: 'small', page: 'withPseudo', locale: PSEUDO });
    expect(await page.evaluate(() => document.documentElement.dir)).toBe('rtl');
    await screen.act?.(page);
    await settled(page);
    expect(await overflow(page)).toEqual([]);
    const side = page.locator('.side');
    if ((await side.count()) > 0) {
      const box = await side.boundingBox();
      expect(box ? box.x + box.width : 0).toBe(sizes.small.width);
    }
  });

  test('the bar fills from the right, and the arrow keys are turned round as well', async () => {
    const page = await open({ scenario: 'busy', page: 'withPseudo', locale: PSEUDO });
    const row = page.getByRole('row', { name: /interview-raw/ });
    const [bar, fill] = [await row.locator('.bar').boundingBox(), await row.locator('.fill').boundingBox()];
    if (!bar || !fill) throw new Error('no bar');
    expect(fill.x + fill.width).toBeCloseTo(bar.x + bar.width, 0);
    expect(fill.width).toBeLessThan(bar.width * 0.75);
    await row.click();
    await page.keyboard.press('ArrowLeft');
    await row.locator('.details').waitFor();
    await page.keyboard.press('ArrowRight');
    expect(await row.locator('.details').count()).toBe(0);
  });
});
