import { describe, expect, test } from 'vitest';

import { sizes, themes } from '../browser';
import { screens } from '../screens';
import { findings, overflow, settled, speak, themed, useStudio } from './support';

const open = useStudio();

const looks = [
  ['en', 'large'],
  ['es', 'small'],
  ['zh', 'small'],
] as const;

describe('axe finds nothing, light and dark, in every language', () => {
  test.each(Object.entries(screens))('%s', { timeout: 60_000 }, async (_, screen) => {
    const page = await open({ scenario: screen.scenario });
    await screen.act?.(page);
    for (const [locale, size] of looks) {
      await page.setViewportSize(sizes[size]);
      await speak(page, locale);
      for (const colorScheme of themes) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await themed(page, colorScheme);
        await settled(page);
        expect(await findings(page, screen.over), `${locale} ${size} ${colorScheme}`).toEqual([]);
      }
      expect(await overflow(page), `${locale} ${size}`).toEqual([]);
    }
  });

  test.each(looks.flatMap(([locale]) => themes.map((theme) => [locale, theme] as const)))(
    'every part in every state: %s, %s',
    { timeout: 60_000 },
    async (locale, theme) => {
      const page = await open({ scenario: 'busy', page: 'gallery', theme, locale });
      await themed(page, theme);
      await settled(page);
      expect(await findings(page)).toEqual([]);
    },
  );
});
