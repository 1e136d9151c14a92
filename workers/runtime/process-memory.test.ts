import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { expect, test } from 'vitest';
import { useHugePages } from './process-memory.ts';

const bytes = 64 << 20;

/** A line of smaps_rollup, in bytes. */
function measured(name: 'Rss' | 'AnonHugePages'): number {
  const text = readFileSync('/proc/self/smaps_rollup', 'utf8');
  return 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]);
}

/** Whether this system can be asked for huge pages at once. */
function canCollapse(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return existsSync('/sys/kernel/mm/transparent_hugepage') && (major > 6 || (major === 6 && minor >= 1));
}

test('memory in use moves into huge pages, with what it holds; memory that nobody touched does not', async () => {
  const used = new Uint8Array(bytes).map((_, i) => i >> 3);
  const untouched = new Uint8Array(bytes);
  const hugeBefore = measured('AnonHugePages');
  const residentBefore = measured('Rss');
  const moved = await useHugePages();
  expect(measured('Rss') - residentBefore).toBeLessThan(bytes / 2);
  expect(measured('AnonHugePages') - hugeBefore).toBeLessThanOrEqual(moved);
  expect(moved).toBeGreaterThanOrEqual(canCollapse() ? bytes - (2 << 20) : 0);
  expect(used.every((value, i) => value === ((i >> 3) & 255))).toBe(true);
  expect(untouched[bytes - 1]).toBe(0);
});

test('an aborted signal ends the moving before it begins', async () => {
  expect(await useHugePages(AbortSignal.abort())).toBe(0);
});
