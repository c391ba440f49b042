/**
 * Links as people meet them, in the real window on the real engine: node tests/desktop/odd_answers.mjs
 *
 * One server, ten files: one that packs before it sends, one that is still making the file, one that cannot show that the
 * file is still the same, one that proves nothing, one with a wrong checksum, mirrors, a packed archive, no content, a name
 * in an older charset, an honest one. What each row says while it waits and at its end is compared; pictures of it are in
 * target/odd-answers.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { sleep, until } from './display.mjs';
import { Stage, step } from './stage.mjs';

const stage = new Stage('odd-answers', { FERRY_STALL_SECONDS: '5' });
const file = randomBytes(400_000);
const changed = randomBytes(400_000);
const digest = (name, encoding) => createHash(name).update(file).digest(encoding);
const asked = new Map();

/** The bytes of an answer; text is a head's. */
const answer = (status, headers, body = Buffer.alloc(0)) => {
  const length = 'Content-Length' in headers || 'Connection' in headers ? {} : { 'Content-Length': body.length };
  const lines = Object.entries({ ...headers, ...length }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
};

/** What is sent for a path: parts, between which so many milliseconds pass, and whether the connection ends then. */
function answerTo(path, head, time) {
  const from = Number(/^range: bytes=(\d+)-/im.exec(head)?.[1] ?? 0);
  const whole = (headers = {}) => [answer('200 OK', headers, file)];
  switch (path) {
    case '/report.pdf':
      return { parts: whole({ 'Repr-Digest': `sha-256=:${digest('sha256', 'base64')}:` }) };
    case '/packs-first.zip':
      return { parts: [8000, ...whole()] };
    case '/in-the-making.zip':
      if (time > 2) return { parts: whole({ ETag: '"1"' }) };
      return { parts: [answer('202 Accepted', { 'Retry-After': '4' }, Buffer.from('{"state":"making"}'))] };
    case '/replaced.mov':
      if (time === 1) {
        const cut = answer('200 OK', { ETag: '"1"', 'Content-Length': file.length }, file.subarray(0, 200_000));
        return { parts: [cut], ends: true };
      }
      if (from > 0) {
        const range = `bytes ${from}-${changed.length - 1}/${changed.length}`;
        return { parts: [answer('206 Partial Content', { 'Content-Range': range }, changed.subarray(from))] };
      }
      return { parts: [answer('200 OK', { ETag: '"2"' }, changed)] };
    case '/live-stream.ts':
      return { parts: [answer('200 OK', { Connection: 'close' }, file)], ends: true };
    case '/damaged.iso':
      return { parts: whole({ 'Content-MD5': createHash('md5').update('another').digest('base64') }) };
    case '/latest.iso':
      return { parts: [answer('302 Found', { Location: '/mirror/latest.iso' })] };
    case '/mirror/latest.iso':
      return { parts: whole({ ETag: '"m"', 'x-goog-hash': `md5=${digest('md5', 'base64')}` }) };
    case '/sources.tar.gz':
      return { parts: whole({ 'Content-Type': 'application/x-tar', 'Content-Encoding': 'x-gzip' }) };
    case '/empty-page':
      return { parts: [answer('204 No Content', {})] };
    case '/by-its-name':
      return { parts: whole({ 'Content-Disposition': "attachment; filename*=GBK''%B1%A8%B8%E6.pdf" }) };
    default:
      return { parts: [answer('404 Not Found', {})] };
  }
}

const server = createServer((socket) => {
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', async (bytes) => {
    text += bytes.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = text.slice(0, end);
    text = text.slice(end + 4);
    const path = head.split(' ')[1];
    asked.set(path, (asked.get(path) ?? 0) + 1);
    const { parts, ends } = answerTo(path, head, asked.get(path));
    for (const part of parts) {
      if (typeof part === 'number') await sleep(part);
      else socket.write(part);
    }
    if (ends) socket.end();
  });
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
stage.cleanUp = () => server.close();
const link = (path) => `http://127.0.0.1:${server.address().port}/${path}`;

let page;
const download = async (path) => {
  const request = { what: link(path), service: 'link', folder: null, name: null };
  await stage.download(request);
};
const named = async (name) => (await stage.transfers()).find((one) => one.name === name);
const says = (name, words, seconds = 40) =>
  until(
    `the row of ${name} to say ${words}`,
    async () => (await stage.rows()).find((row) => row.includes(name) && words.test(row)),
    seconds,
  );
const holds = (name, bytes) => assert.ok(readFileSync(join(stage.downloads, name)).equals(bytes), name);

await stage.run(4, async () => {
  page = await stage.open();
  await page.click('button', 'Start with the sandbox');
  await page.find('nav button', 'Transfers');
  await step('what a row says while it waits', async () => {
    await download('packs-first.zip');
    await download('in-the-making.zip');
    console.log(await says('packs-first.zip', /getting? the file ready/i));
    console.log(await says('in-the-making.zip', /not finished making the file|again/i));
    await stage.picture('waiting');
    await says('packs-first.zip', /Length checked|Size checked|length/i);
    holds('packs-first.zip', file);
    await until('the made file', async () => (await named('in-the-making.zip'))?.state.is === 'completed', 40);
    holds('in-the-making.zip', file);
  });
  await step('what it says when it starts over, proves, and can prove nothing', async () => {
    for (const path of ['report.pdf', 'replaced.mov', 'live-stream.ts', 'latest.iso', 'sources.tar.gz']) {
      await download(path);
    }
    await download('by-its-name');
    console.log(await says('replaced.mov', /started over/));
    await until('the new file', async () => (await named('replaced.mov'))?.state.is === 'completed', 40);
    holds('replaced.mov', changed);
    console.log(await says('live-stream.ts', /Not confirmed/i));
    console.log(await says('report.pdf', /SHA-256|Verified/i));
    console.log(await says('latest.iso', /MD5|Verified/i));
    holds('sources.tar.gz', file);
    console.log(await says('报告.pdf', /./));
    holds('报告.pdf', file);
    await stage.picture('ends');
  });
  await step('what is wrong is an error with a reason, and nothing under the name', async () => {
    await download('damaged.iso');
    await download('empty-page');
    console.log(await says('damaged.iso', /not what|checksum|described/i, 60));
    console.log(await says('empty-page', /no content/i));
    await stage.picture('errors');
    assert.throws(() => readFileSync(join(stage.downloads, 'damaged.iso')));
  });
});
