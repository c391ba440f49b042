import { join } from 'node:path';

import { paraglideVitePlugin } from '@inlang/paraglide-js';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type PluginOption } from 'vite';

import { makeProject } from './tests/pseudo.ts';

// The window once more with a language from right to left, and the gallery of its parts: for tests and pictures, never shipped.
const folder = join(import.meta.dirname, 'test-results', 'languages');
const compiled = join(folder, 'paraglide');

/** The same source with the messages of this build. */
const messagesOfThisBuild: PluginOption = {
  name: 'messages-of-this-build',
  enforce: 'pre',
  resolveId: (source) => {
    const wanted = /\/paraglide\/(messages|runtime)\.js$/.exec(source);
    return wanted && !source.startsWith(folder) ? join(compiled, `${wanted[1]}.js`) : null;
  },
};

export default defineConfig({
  plugins: [
    messagesOfThisBuild,
    paraglideVitePlugin({
      project: makeProject(import.meta.dirname, folder),
      outdir: compiled,
      strategy: ['localStorage', 'preferredLanguage', 'baseLocale'],
    }),
    svelte(),
  ],
  base: './',
  logLevel: 'warn',
  build: {
    outDir: 'dist-tests',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ['index.html', 'gallery.html'] },
  },
});
