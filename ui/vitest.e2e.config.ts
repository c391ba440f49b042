import { defineConfig } from 'vitest/config';

// The built page in Chromium. One file after the other: the machine that runs them may have two cores.
export default defineConfig({
  test: {
    include: ['tests/e2e/**/*.test.ts'],
    environment: 'node',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
