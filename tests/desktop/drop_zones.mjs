/**
 * Files dropped on the zones of the real window, with text of the usual size and twice as large: node
 * tests/desktop/drop_zones.mjs
 *
 * With larger text a pixel of the page is several of the window's, and nothing in the page tells how many.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { until } from './display.mjs';
import { Stage, step } from './stage.mjs';
import { Driver } from './webdriver.mjs';

const stage = new Stage('desktop-drop-zones');
mkdirSync(join(stage.folder, 'source'));

/** Where an element lies on the screen: as a share of the page, which fills the window. */
async function middleOf(css, words) {
  const element = await stage.page.find(css, words);
  const [x, y] = await stage.page.evaluate(
    `const box = arguments[0].getBoundingClientRect();
     return [(box.x + box.width / 2) / innerWidth, (box.y + box.height / 2) / innerHeight];`,
    element,
  );
  const place = await stage.display.place(await stage.display.window('Ferry'));
  return {
    x: Math.round(place.x + x * place.width),
    y: Math.round(place.y + y * place.height),
  };
}

/** Drops a new file there, and answers the service that it is for. */
async function dropped(name, at, hovering) {
  const file = join(stage.folder, 'source', name);
  writeFileSync(file, name);
  await stage.display.drop([file], at, async () => {
    await hovering?.();
    await stage.picture(name);
  });
  const added = async () => (await stage.transfers()).find((transfer) => transfer.name === name);
  return (await until(`the row of ${name}`, added)).service;
}

async function test() {
  for (const scale of ['1', '2']) {
    await step(`a drop goes to the zone under the pointer, text ${scale} times as large`, async () => {
      stage.driver.stop();
      stage.driver = await Driver.start({ ...stage.environment, GDK_DPI_SCALE: scale });
      await stage.open();
      if (scale === '1') await stage.page.click('button', 'Start with the sandbox');
      await stage.page.find('nav button', '');
      assert.ok((await stage.page.invoke('set_key', { service: 'mavi', key: 'a-key-for-nothing' })).ok);
      const mavi = await middleOf('nav [data-drop-service=mavi]', '');
      const sandbox = await middleOf('nav [data-drop-service=sandbox]', '');
      assert.equal(await dropped(`side-${scale}.txt`, sandbox), 'sandbox');
      assert.equal(await dropped(`side-mavi-${scale}.txt`, mavi), 'mavi');

      // The zones are where they are while something is held over the window.
      const overZone = async () => {
        const zone = await middleOf('.zone', 'Sandbox instead');
        await stage.display.xdo('mousemove', zone.x - 9, zone.y, 'sleep', 0.1, 'mousemove', zone.x, zone.y);
        await stage.page.find('.zone.over', 'Upload 1 file to Sandbox');
      };
      assert.equal(await dropped(`zone-${scale}.txt`, mavi, overZone), 'sandbox');
      process.kill(stage.page.pid);
    });
  }
}

await stage.run(3, test);
