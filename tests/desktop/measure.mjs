/**
 * Measures the real window: `node measure.mjs DATA-FOLDER ROWS RUNNING FILE` writes its figures to a file. `FERRY_DESKTOP` is the
 * program. What is waiting in the data folder begins to run as it would at home; then everything is paused.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { sleep, until } from './display.mjs';
import { Stage } from './stage.mjs';

const [data, rows, running] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const stage = new Stage('measure', { FERRY_DATA_DIR: data });
/** Clock ticks of a second, as the kernel tells them to programs. */
const TICKS = 100;

/** `state ppid … utime stime … starttime`, counted from the third field on. */
function stat(folder) {
  const text = readFileSync(join(folder, 'stat'), 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** The window's program and everything that it started. */
function family(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      parents.set(Number(name), Number(stat(`/proc/${name}`)[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const all = new Set([pid]);
  for (let grown = 0; grown !== all.size;) {
    grown = all.size;
    for (const [child, parent] of parents) if (all.has(parent)) all.add(child);
  }
  return [...all];
}

const seconds = (folder) => {
  const [user, system] = stat(folder).slice(11, 13).map(Number);
  return (user + system) / TICKS;
};

/** Memory in MiB; what processes share is counted once. */
function memory(pid) {
  const each = family(pid).map((one) => {
    const text = readFileSync(`/proc/${one}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+)/m.exec(text)[1]) / 1024;
  });
  return each.reduce((sum, one) => sum + one, 0);
}

/** The thread that runs the page: style, layout and drawing included. */
function pageThread(pid) {
  const one = family(pid).find((each) => readFileSync(`/proc/${each}/comm`, 'utf8').startsWith('WebKitWebProces'));
  return `/proc/${one}/task/${one}`;
}

/** CPU of all processes and of the page's thread, messages and their sizes, frames, while `work` takes its time. */
async function watch(page, work) {
  const { pid } = page;
  const thread = pageThread(pid);
  const cpu = () => family(pid).reduce((sum, one) => sum + seconds(`/proc/${one}`), 0);
  await page.evaluate('window.__seen = []');
  const [all, main, began] = [cpu(), seconds(thread), Date.now()];
  const frames = await work();
  const took = (Date.now() - began) / 1000;
  const [allAfter, mainAfter] = [cpu(), seconds(thread)];
  const sizes = await page.evaluate('return window.__seen');
  return {
    seconds: took,
    cpu: (100 * (allAfter - all)) / took,
    messages: sizes.length,
    most_in_a_second: await page.evaluate('return window.__most()'),
    bytes: sizes.length ? sizes.reduce((sum, [, size]) => sum + size, 0) / sizes.length : 0,
    page_ms_a_message: sizes.length ? (1000 * (mainAfter - main)) / sizes.length : 0,
    frames,
  };
}

/** Scrolls by a hand's width a frame, through the list and back, and tells the times between frames. */
const SCROLL = `
  const [time, done] = [arguments[0], arguments[1]];
  const list = document.querySelector('[role=grid]');
  const gaps = [];
  let last = performance.now();
  let step = 90;
  let empty = 0;
  const end = last + time;
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    const before = list.scrollTop;
    list.scrollTop += step;
    // A row that is not here yet is quick to draw: such frames are told.
    const box = list.getBoundingClientRect();
    const inSight = (one) => one.getBoundingClientRect().bottom > box.top && one.getBoundingClientRect().top < box.bottom;
    if ([...list.querySelectorAll('.place.empty')].some(inSight)) empty += 1;
    if (list.scrollTop === before) step = -step;
    if (now < end) requestAnimationFrame(frame);
    else {
      gaps.shift();
      gaps.sort((a, b) => a - b);
      done({ count: gaps.length, median: gaps[gaps.length >> 1], worst: gaps.at(-1),
        late: gaps.filter((gap) => gap > 25).length, empty });
    }
  };
  requestAnimationFrame(frame);`;

/**
 * How long the list takes to show itself otherwise, from the page and back, in milliseconds: the middle of five. What is
 * moved or paused is there when the page is told so. And the bytes of an answer to a look, which scrolling asks for.
 */
const VIEWS = `
  const [rows, done] = [arguments[0], arguments[1]];
  const invoke = window.__TAURI_INTERNALS__.invoke;
  const told = async (act) => {
    const before = window.__seen.length;
    await act();
    while (window.__seen.length === before) await new Promise((next) => setTimeout(next, 5));
  };
  let last = rows;
  const plain = { filter: 'all', search: '', order: 'queue', locale: 'en', midnight: 0, from: 0, count: 60, cursor: null };
  const look = (change) => invoke('look', { look: { ...plain, ...change } });
  const views = {
    scrolled: () => look({ from: Math.floor(rows / 2) }),
    filtered: () => look({ filter: 'active' }),
    searched: () => look({ search: '77' }),
    by_name: () => look({ order: 'name' }),
    by_size: () => look({ order: 'size' }),
    moved: () => told(() => invoke('move_rows', { ids: [last--], to: 'front' })),
    selected: () => invoke('between', { from: null, to: null }),
  };
  (async () => {
    const times = {};
    for (const [name, view] of Object.entries(views)) {
      const took = [];
      for (let round = 0; round < 5; round += 1) {
        await look({});
        const began = performance.now();
        await view();
        took.push(performance.now() - began);
      }
      times[name] = took.sort((a, b) => a - b)[2];
    }
    times.bytes = JSON.stringify(await look({ from: Math.floor(rows / 2), count: 120 })).length;
    return times;
  })().then(done);`;

/** Counts what the engine tells the page, in bytes and by time. */
const LISTEN = `
  window.__seen = [];
  window.__most = () => Math.max(0, ...window.__seen.map(([at]) =>
    window.__seen.filter(([other]) => other >= at && other < at + 1000).length));
  const handler = window.__TAURI_INTERNALS__.transformCallback((event) =>
    window.__seen.push([performance.now(), JSON.stringify(event.payload).length]));
  window.__TAURI_INTERNALS__.invoke('plugin:event|listen',
    { event: 'transfers-changed', target: { kind: 'Any' }, handler }).then(arguments[0]);`;

const script = (page, text, ...args) => page.driver.send('POST', `${page.path}/execute/async`, { script: text, args });

stage.run(15, async () => {
  const page = await stage.open();
  if (rows > 0) {
    await until(
      'the list',
      () => page.evaluate('return document.querySelectorAll("[role=row][data-id]").length > 5'),
      60,
    );
  }
  const painted = await until('the first paint', () =>
    page.evaluate(`
      const paint = performance.getEntriesByName('first-contentful-paint')[0];
      return paint ? performance.timeOrigin + paint.startTime : null;`),
  );
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
  const started = Date.now() - uptime + Number(stat(`/proc/${page.pid}`)[19]) * (1000 / TICKS);
  const figures = { first_paint: (painted - started) / 1000 };
  await script(page, LISTEN);

  if (running > 0) {
    const moving = async () =>
      (await stage.rows()).filter((row) => /\dB?\/s/.test(row.replaceAll(/[KMGT]i?B/g, '0'))).length;
    await until(`${running} running`, async () => (await moving()) >= running, 60);
    await sleep(3000);
    figures.busy = await watch(page, async () => void (await sleep(20_000)));
    figures.scrolling = await watch(page, () => script(page, SCROLL, 8000));
    await stage.picture('busy');
    const { ok: ids } = await page.invoke('which', { ids: null, can: 'pause' });
    const { refused } = await page.invoke('pause', { ids });
    if (refused) throw new Error(JSON.stringify(refused));
  }
  // Free memory is given back when nothing has run for a while.
  await sleep(15_000);
  figures.idle = await watch(page, async () => void (await sleep(20_000)));
  figures.memory = memory(page.pid);
  if (running > 0) figures.views = await script(page, VIEWS, rows);
  await stage.picture('idle');
  writeFileSync(process.argv[5], JSON.stringify(figures));
});
