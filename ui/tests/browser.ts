/** The built page in Chromium, with the tests' engine behind it and the policy of the real window in front. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { build } from 'vite';

import type { Scenario } from './scenarios';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '..', 'dist');
/** The window with a language from right to left, and the gallery: `npm run build:tests`. */
const distTests = join(here, '..', 'dist-tests');

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

/** As strict as the window's own: what it forbids must not be needed. */
const POLICY = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'";

export const sizes = { small: { width: 760, height: 520 }, large: { width: 1440, height: 900 } } as const;
export const themes = ['light', 'dark'] as const;

/** What is shipped; the same with a language from right to left; every part in every state. */
export const pages = { shipped: '/', withPseudo: '/tests/index.html', gallery: '/tests/gallery.html' } as const;

export interface Opening {
  scenario: Scenario;
  page?: keyof typeof pages;
  size?: keyof typeof sizes;
  theme?: (typeof themes)[number];
  /** Bytes move by themselves. */
  live?: boolean;
  /** Text as many times larger than usual. */
  text?: number;
  /** Lets the script put in styles of its own. */
  bypassPolicy?: boolean;
  /** What the desktop speaks. */
  locale?: string;
  userAgent?: string;
  reducedMotion?: boolean;
  forcedColors?: boolean;
}

export class Studio {
  private constructor(
    private readonly browser: Browser,
    private readonly server: Server,
    private readonly engine: string,
  ) {}

  static async open(): Promise<Studio> {
    const server = createServer((request, response) => {
      // Browsers ask for an icon by themselves; the real window does not.
      if (request.url === '/favicon.ico') {
        response.writeHead(204).end();
        return;
      }
      const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname));
      const file = path.startsWith('/tests/')
        ? join(distTests, path.slice('/tests/'.length))
        : join(dist, path === '/' ? 'index.html' : path);
      stat(file).then(
        () => {
          response.writeHead(200, {
            'content-type': types[extname(file)] ?? 'application/octet-stream',
            'content-security-policy': POLICY,
          });
          createReadStream(file).pipe(response);
        },
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const browser = await chromium.launch({
      executablePath: process.env.FERRY_TEST_CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-dev-shm-usage',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return new Studio(browser, server, await bundleEngine());
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }

  /** A page with this scenario, once it has drawn itself. Whatever the page complains about is collected in `complaints`. */
  async page(opening: Opening): Promise<{ page: Page; complaints: string[]; close: () => Promise<void> }> {
    const context: BrowserContext = await this.browser.newContext({
      viewport: sizes[opening.size ?? 'large'],
      colorScheme: opening.theme ?? 'light',
      reducedMotion: opening.reducedMotion ? 'reduce' : 'no-preference',
      forcedColors: opening.forcedColors ? 'active' : 'none',
      locale: opening.locale ?? 'en-GB',
      userAgent: opening.userAgent,
      timezoneId: 'UTC',
      bypassCSP: opening.bypassPolicy ?? false,
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    const begin = `FakeEngine.start(${JSON.stringify(opening.scenario)}, ${JSON.stringify(opening.live ?? false)});`;
    await page.addInitScript({ content: `${this.engine}\n${begin}` });
    const { port } = this.server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}${pages[opening.page ?? 'shipped']}`);
    await page.locator('main').waitFor();
    if (opening.text) {
      await page.evaluate((times) => (document.documentElement.style.fontSize = `${81.25 * times}%`), opening.text);
    }
    return { page, complaints, close: () => context.close() };
  }
}

async function bundleEngine(): Promise<string> {
  const made = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      minify: false,
      lib: { entry: join(here, 'fake-engine.ts'), formats: ['iife'], name: 'FakeEngine' },
    },
  });
  const output = Array.isArray(made) ? made[0] : made;
  if (!output || !('output' in output)) throw new Error('The tests’ engine was not built');
  return output.output[0].code;
}
