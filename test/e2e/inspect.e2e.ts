import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfigInspection } from '../../workers/slicer/inspect.ts';
import { releasedConfig } from '../fixtures/released-models.ts';
import { trireme } from './start-system.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'trireme-config-'));
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(releasedConfig('kimi-k2-instruct')));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function inspect(...flags: readonly string[]): Promise<string> {
  const command = trireme('inspect', folder, ...flags);
  expect(await command.exited).toMatchObject({ status: 0 });
  return command.output;
}

test('a config.json alone says what ranks of a trillion parameters would hold', async () => {
  const text = await inspect();
  expect(text).toContain('parameters   1,026,408,232,448');
  expect(text).toContain('legal rank counts: 1, 2, 4, 8, 16, 32, 64');
  expect(text).toContain('not 3, 5-7, 9-15, 17-31, 33-63: 64 query heads do not divide by them');
  expect(text).toMatch(/^8 +240.8 +120.8 +62.7 +70272 +sliced, 256 of 2048 columns +sliced, 256 of 2048 columns/m);
  expect(text).toMatch(/^32 +61.7 +31.1 +16.2 +70272 +sliced, 64 of 2048 columns +spread, 12 of 384 experts/m);
  expect(text).toContain('32 ranks, fp8 and int4: spread, as 2048 columns / 32 would cut blocks of 128');
});

test('and says it to machines', async () => {
  const found = JSON.parse(await inspect('--json')) as ConfigInspection;
  expect(found).toMatchObject({ kind: 'config', model: { family: 'kimi_k2' } });
  expect(found.deployments.find(({ ranks }) => ranks === 32)?.experts?.int4).toEqual({
    split: 'spread',
    share: '12 of 384 experts',
    why: '2048 columns / 32 would cut blocks of 128',
  });
});
