/** Closing the window to the tray, in the real window: node tests/desktop/tray.mjs */
import assert from 'node:assert/strict';

import { sleep, until } from './display.mjs';
import { Stage, step } from './stage.mjs';

/** What the sandbox holds from the start. */
const SAMPLE = 'VI100000000000000002';

const stage = new Stage('desktop-tray');
const shown = () => stage.display.hasWindow('Ferry');
const close = async () => {
  await stage.page.painted();
  await stage.display.close(await stage.display.window('Ferry'));
};
const hidden = () => until('the window to go', async () => !(await shown()));

async function closesToTray(page, close_to_tray) {
  const settings = await stage.settings();
  const saved = await page.invoke('save_settings', { changes: { ...settings, close_to_tray, welcomed: true } });
  assert.ok(!saved.refused, JSON.stringify(saved));
}

async function test() {
  await step('without a panel, closing ends Ferry whatever the settings say', async () => {
    const page = await stage.open();
    await closesToTray(page, true);
    assert.deepEqual(await page.invoke('tray_there'), { ok: false });
    await close();
    await page.ended();
  });

  await step('a start at login shows the window all the same', async () => {
    const { program, ended } = stage.start({}, ['--hidden']);
    await sleep(3000);
    assert.equal(await shown(), false, 'it does not wait for the panel');
    await until('the window', shown, 20);
    program.kill();
    await ended;
  });

  const panel = await stage.display.panel();
  const notices = () => panel.said.filter((line) => line.startsWith('notice'));
  let page;

  await step('with a panel, closing hides the window and a notice says so once', async () => {
    page = await stage.open();
    await until('the icon', () => panel.said.includes('icon'));
    const place = await stage.display.place(await stage.display.window('Ferry'));
    assert.deepEqual(await page.invoke('tray_there'), { ok: true });
    await close();
    await hidden();
    await until('the notice', () => notices().length > 0);
    assert.deepEqual(notices(), ['notice Ferry is still running']);
    assert.ok(page.isAlive);

    assert.equal((await stage.start().ended).code, 0, 'a second start');
    assert.deepEqual(await stage.display.place(await stage.display.window('Ferry')), place);
    await close();
    await hidden();
    await sleep(500);
    assert.equal(notices().length, 1);
  });

  await step('work goes on behind the tray, and its menu opens the window', async () => {
    const started = await page.invoke('download', { request: { what: SAMPLE, service: 'sandbox' } });
    assert.ok(started.ok, JSON.stringify(started));
    await until('the file', async () => (await stage.transfers()).some((one) => one.state.is === 'completed'), 60);
    assert.equal(await shown(), false);
    panel.click('Open Ferry');
    await until('the window', shown);
    await stage.picture('opened');
  });

  await step('quitting from the tray asks while work runs', async () => {
    const settings = await stage.settings();
    await page.invoke('save_settings', { changes: { ...settings, limit_down: 300_000 } });
    await page.invoke('download', { request: { what: SAMPLE, service: 'sandbox' } });
    await until('the transfer to run', async () => (await stage.transfers()).some((one) => one.state.is === 'running'));
    await close();
    await hidden();
    panel.click('Quit Ferry');
    const question = await stage.display.window('Quit Ferry?');
    await stage.picture('question');
    await stage.display.press(question, 'Return');
    await page.ended();
  });

  await step('a start at login stays behind the tray until it is called', async () => {
    const { program, ended } = stage.start({}, ['--hidden']);
    await until('the icon', () => panel.said.filter((line) => line === 'icon').length > 1);
    await sleep(1500);
    assert.equal(await shown(), false);
    assert.equal((await stage.start({}, ['--hidden']).ended).code, 0);
    await sleep(500);
    assert.equal(await shown(), false, 'a second login');
    panel.click('Open Ferry');
    await until('the window', shown);
    program.kill();
    assert.equal((await ended).code, 0);
  });

  await step('a hidden window comes back when the panel goes', async () => {
    page = await stage.open();
    await close();
    await hidden();
    panel.leave();
    await sleep(3000);
    assert.equal(await shown(), false, 'a panel that is only started anew is waited for');
    await until('the window', shown, 20);
  });
}

await stage.run(2, test);
