/** Slicing streams: what it holds at a time does not grow with the model. */
import { open } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { slice } from '../../workers/slicer/slice.ts';
import { deepseekConfig, narrowWidths } from '../bench/deepseek-model.ts';
import { writeRandomCheckpoint } from '../bench/random-checkpoint.ts';
import { measureShape } from '../bench/slicing-memory.ts';
import { compareRows } from '../fixtures/compare-rows.ts';
import { temporaryFolder } from '../fixtures/tiny-checkpoint.ts';

test('a package of 1.2 GB is made within the bound, from FP8, and holds what the checkpoint stores', async () => {
  await using folder = await temporaryFolder();
  const config = deepseekConfig({ ...narrowWidths, n_routed_experts: 32 });
  const shape = { name: 'DeepSeek-V3, narrow', config, format: 'FP8', seed: 3 } as const;
  const [measured] = await measureShape(folder.path, shape, [{ weights: 'native', ranks: 2 }]);
  expect(measured?.peakBytes).toBeLessThan(measured!.peakBytesMax);
  expect(measured).toMatchObject({ rows: 256, different: [] });
}, 60_000);

test.each(['native', 'int8', 'int4'] as const)(
  'comparing rows notices one byte of %s that is wrong',
  async (weights) => {
    await using folder = await temporaryFolder();
    const [checkpoint, out] = ['checkpoint', 'package'].map((name) => path.join(folder.path, name)) as [string, string];
    const config = deepseekConfig(tinyWidths);
    await writeRandomCheckpoint(checkpoint, { config, format: 'FP8', seed: 5 });
    await slice({ model: checkpoint, out, ranks: 1, weights });
    const compare = () => compareRows({ checkpoint, package: out, weights, ranks: 1, rowsPerRank: 3000, seed: 7 });
    expect(await compare()).toMatchObject({ rows: 3000, different: [] });
    await spoil(path.join(out, 'rank-0', 'weights.bin'));
    expect((await compare()).different.length).toBeGreaterThan(0);
  },
);

const tinyWidths = {
  hidden_size: 256,
  num_attention_heads: 2,
  q_lora_rank: 64,
  kv_lora_rank: 64,
  intermediate_size: 160,
  moe_intermediate_size: 64,
  n_routed_experts: 16,
  vocab_size: 300,
};

/** Turns the highest bit of every 4096th byte. */
async function spoil(file: string): Promise<void> {
  await using handle = await open(file, 'r+');
  const { size } = await handle.stat();
  for (let at = 2048; at < size; at += 4096) {
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at);
    await handle.write(Buffer.of(buffer[0]! ^ 0x80), 0, 1, at);
  }
}
