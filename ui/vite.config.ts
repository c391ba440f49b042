import { paraglideVitePlugin } from '@inlang/paraglide-js';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type PluginOption } from 'vite';

/** `FERRY_FAKE=busy npm run dev` shows the window in a browser, moved by the tests' engine instead of the real one. */
function fakeEngine(scenario: string | undefined): PluginOption {
  return {
    name: 'fake-engine',
    apply: 'serve',
    transformIndexHtml: () =>
      scenario
        ? [
            {
              tag: 'script',
              attrs: { type: 'module' },
              children: `import { start } from '/tests/fake-engine.ts'; start(${JSON.stringify(scenario)});`,
              injectTo: 'head-prepend',
            },
          ]
        : [],
  };
}

export default defineConfig({
  plugins: [
    paraglideVitePlugin({
      project: './project.inlang',
      outdir: './src/paraglide',
      strategy: ['localStorage', 'preferredLanguage', 'baseLocale'],
      emitTsDeclarations: true,
    }),
    svelte(),
    fakeEngine(process.env.FERRY_FAKE),
  ],
  clearScreen: false,
  server: { port: 1420, strictPort: true },
  build: {
    // The oldest webview that Ferry meets: WebKitGTK 2.44 and Safari 17.
    target: ['safari17', 'chrome120'],
    // A strict content security policy has no room for inline modules or data URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
