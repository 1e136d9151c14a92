import { expect, test } from 'vitest';
import { measureMemory } from '../../scripts/measure-memory.ts';
import { demoPackage } from './demo-package.ts';

test('loading keeps to its bound, and what was unloaded leaves nothing behind', { timeout: 120_000 }, async () => {
  expect(await measureMemory(await demoPackage(2, 'int4'), 15)).toMatchObject({ passed: true });
});
