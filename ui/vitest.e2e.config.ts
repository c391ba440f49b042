import { defineConfig } from 'vitest/config';

// The built page in Chromium. One file after the other: the machine that runs them may have two cores.
export default defineConfig({
  test: {
    include: ['tests/e2e/**/*.test.ts'],
    environment: 'node',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // As in .config/nextest.toml: what passes only at the second try is shown as such, and does not hold others up.
    retry: 1,
  },
});
