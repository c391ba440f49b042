import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// Stores and formats, without a browser. The messages are compiled by `npm run messages` beforehand.
export default defineConfig({
  plugins: [svelte()],
  test: { include: ['tests/unit/**/*.test.ts'], environment: 'node', env: { TZ: 'UTC' } },
});
