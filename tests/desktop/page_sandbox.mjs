/** The process that draws the page in WebKit's sandbox, and a system that has none: node tests/desktop/page_sandbox.mjs */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { until } from './display.mjs';
import { Stage, step } from './stage.mjs';
import { descendants, Driver } from './webdriver.mjs';

const stage = new Stage('page-sandbox');
const secret = join(stage.home, 'secret.txt');
writeFileSync(secret, 'of the user');

/** No user namespaces, and no rights to do without them: as in many containers. */
const WITHOUT_NAMESPACES = [
  ...['unshare', '--user', '--map-root-user', 'sh', '-c'],
  'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"',
  'sh',
];

const drawer = (pid) =>
  descendants(pid).find((one) => readFileSync(`/proc/${one}/comm`, 'utf8').startsWith('WebKitWeb'));
const report = async (page) => (await page.invoke('diagnostics')).ok;

async function test() {
  await step('the page’s process sees no file of the user’s and no network', async () => {
    const page = await stage.open();
    await page.find('button', 'Start with the sandbox');
    assert.match(await report(page), /The page's process: in its sandbox\n/);
    const pid = await until('the process', () => drawer(page.pid));
    assert.ok(existsSync(`/proc/${pid}/root/usr`));
    assert.ok(!existsSync(`/proc/${pid}/root${secret}`), 'it sees a file of the user’s');
    assert.ok(!existsSync(`/proc/${pid}/root${stage.environment.FERRY_DATA_DIR}`), 'it sees the data folder');
    const devices = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2).filter(Boolean);
    assert.deepEqual(devices.map((line) => line.trim().split(':')[0]), ['lo']);
    await stage.display.close(await stage.display.window('Ferry'));
    await page.ended();
  });

  await step('where there is no sandbox the window comes up all the same, and the report says why', async () => {
    stage.driver.stop();
    stage.driver = await Driver.start(stage.environment, WITHOUT_NAMESPACES);
    const page = await stage.open();
    await page.find('button', 'Start with the sandbox');
    const said = await report(page);
    assert.match(said, /The page's process: without a sandbox \(.*(namespace|bwrap|permit).*\)\n/i);
    console.log(said.split('\n')[1]);
    await stage.picture('without');
  });
}

await stage.run(2, test);
