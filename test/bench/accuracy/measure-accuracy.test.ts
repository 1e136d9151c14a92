import path from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../fixtures/tiny-checkpoint.ts';
import { goldensIn } from '../../goldens/golden-folder.ts';
import { demoModel } from '../../numerics/demo-package.ts';
import { root } from '../measure.ts';
import { type AccuracyRow, measureAccuracy, type Subject } from './measure-accuracy.ts';
import { publishedFormats } from './quantised-copy.ts';
import { demoCopy, demoSubject, goldenSubject, heldOutWindows } from './subjects.ts';

async function rowsOf(subject: Subject): Promise<readonly AccuracyRow[]> {
  await using scratch = await temporaryFolder();
  const rows: AccuracyRow[] = [];
  for await (const row of measureAccuracy(subject, scratch.path)) rows.push(row);
  return rows;
}

/** Perplexity of the demo model over the first window of its held-out text, as in its own bfloat16. */
const ofFirstWindow = 26.304;

const find = (rows: readonly AccuracyRow[], weights: string, activations: string): AccuracyRow =>
  rows.find((row) => row.weights === weights && row.activations === activations)!;

test('predictions of the demo model change little with int8, more with int4, and are worth two per cent less at most', async () => {
  const windows = (await heldOutWindows()).slice(0, 3);
  const rows = await rowsOf(await demoSubject('demo', demoModel, windows));
  const float = find(rows, 'fp32', 'fp32');
  expect(float.perplexity).toBeGreaterThan(28.7);
  expect(float.perplexity).toBeLessThan(28.9);
  const [int8, int4] = [find(rows, 'int8', 'int8'), find(rows, 'int4', 'int8')];
  expect(Math.abs(int8.perplexity! / float.perplexity! - 1)).toBeLessThan(0.005);
  expect(Math.abs(int4.perplexity! / float.perplexity! - 1)).toBeLessThan(0.02);
  expect(int8.divergence!).toBeGreaterThan(find(rows, 'int8', 'fp32').divergence!);
  expect(int4.divergence!).toBeGreaterThan(10 * int8.divergence!);
}, 60_000);

test.each(publishedFormats.map((format) => [format.name, format] as const))(
  '%s: a checkpoint rounded so predicts nearly as well, and what packages keep of it predicts the same',
  async (name, format) => {
    await using folder = await temporaryFolder();
    const windows = (await heldOutWindows()).slice(0, 1);
    for await (const copy of demoCopy(format, windows, folder.path)) {
      const rows = await rowsOf(copy);
      const float = find(rows, 'fp32', 'fp32');
      expect(float.quantisation).toMatch(/^from .*: float32, exactly/);
      expect(Math.abs(float.perplexity! / ofFirstWindow - 1)).toBeLessThan(0.03);
      const kept = rows.filter(({ weights }) => weights === 'native');
      expect(kept.map(({ activations }) => activations)).toEqual(name.startsWith('FP8') ? [] : ['fp32', 'int8']);
      if (kept.length === 0) continue;
      expect(kept[0]!.quantisation).toMatch(/integers of \d+ matrices kept as stored/);
      expect(kept[0]!.divergence).toBeLessThan(1e-9);
      expect(kept[1]!.divergence).toBeLessThan(5e-3);
      expect(kept[1]!.divergence).toBeGreaterThan(1e-6);
    }
  },
  60_000,
);

test('a package of other weights diverges from what another implementation computed, one in float32 does not', async () => {
  const [golden] = await goldensIn(path.join(root, 'test', 'goldens'), ['qwen3_moe_fp8_block']);
  await using folder = await temporaryFolder();
  const rows = await rowsOf(await goldenSubject(golden!, folder.path));
  expect(find(rows, 'fp32', 'fp32').expectedDivergence).toBeLessThan(1e-10);
  expect(find(rows, 'int8', 'int8').expectedDivergence).toBeGreaterThan(1e-5);
  expect(find(rows, 'int4', 'int8').expectedDivergence).toBeGreaterThan(1e-3);
});
