import { defineConfig } from 'vitest/config';

/** Seeded simulations: longer than tests, and every name carries the seed that repeats it. */
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/sim/**/*.sim.ts'],
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['verbose'],
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
