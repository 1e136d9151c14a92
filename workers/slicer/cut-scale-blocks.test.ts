/** What a manifest says of cuts that go between values of one scale. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { goldenFile, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import type { WeightFormat } from '../models/manifest.ts';
import { slice } from './slice.ts';

async function sliced(golden: string, weights: WeightFormat, ranks: number) {
  await using folder = await temporaryFolder();
  const model = goldenFile(`quantized/${golden}`).replace(/[.]json$/, '');
  const options = { model, out: path.join(folder.path, 'package'), companions: false } as const;
  const { provenance, experts } = await slice({ ...options, weights, ranks });
  return `experts ${experts}, ${provenance.quantisation}`;
}

const fp8 = 'from BF16, FP8 128x128: float32, exactly';
const mxfp4 = 'from BF16, MXFP4: float32, exactly';
const cuts = (matrices: number): string =>
  `; cuts inside scale blocks of ${matrices} matrices, each part dequantised with its blocks' scales`;

const rounded = 'int8 symmetric, block 32, round to nearest; router, norms and embeddings float';

test.each([
  ['qwen3_moe_fp8_block', 'native', 1, `experts sliced, ${fp8}`],
  // Keys and values have 128 rows: of both, in 2 layers, each rank has half of a block.
  ['qwen3_moe_fp8_block', 'native', 2, `experts sliced, ${fp8}${cuts(2 * 2 * 2)}`],
  // And of gate, up and down of 6 experts of one layer, 256 wide.
  ['qwen3_moe_fp8_block', 'fp32', 4, `experts sliced, ${fp8}${cuts(2 * 2 * 4 + 3 * 6 * 4)}`],
  // A rank has the scales of its rows, however many of their columns.
  ['glm4_moe_fp8_channel', 'native', 4, 'experts sliced, from BF16, F32, FP8 per row: float32, exactly'],
  ['gpt_oss_mxfp4', 'native', 2, `experts sliced, ${mxfp4}`],
  // 16 of 64 columns of down, of 8 experts in 2 layers.
  ['gpt_oss_mxfp4', 'native', 4, `experts sliced, ${mxfp4}${cuts(8 * 2 * 4)}`],
  // Made into blocks again, experts stay whole.
  ['gpt_oss_mxfp4', 'int8', 4, `experts spread, from BF16, MXFP4: ${rounded}; products in int8`],
] as const)('%s as %s on %i ranks', async (golden, weights, ranks, words) => {
  expect(await sliced(golden, weights, ranks)).toBe(words);
});
