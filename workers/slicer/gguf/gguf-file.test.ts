/** Golden models as GGUF files: the same spec, and weights to the bit, as from their safetensors. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  encodeTensor,
  type floatTypes,
  ggufMetadataOf,
  ggufTensorsOf,
  toFloats,
} from '../../../test/fixtures/gguf-checkpoint.ts';
import { writeGguf } from '../../../test/fixtures/gguf-writer.ts';
import { digestsOf, goldenCheckpoint, readTensors } from '../../../test/fixtures/tiny-checkpoint.ts';
import { slice } from '../slice.ts';

/** Writes the golden's checkpoint as DIR/model.gguf. */
async function asGguf(
  golden: Awaited<ReturnType<typeof goldenCheckpoint>>,
  type: keyof typeof floatTypes,
): Promise<string> {
  const config = JSON.parse(await readFile(path.join(golden.checkpoint, 'config.json'), 'utf8'));
  const tensors = (await readTensors(path.join(golden.checkpoint, 'model.safetensors'))).map(toFloats);
  const file = path.join(golden.path, 'model.gguf');
  await writeGguf(file, {
    metadata: ggufMetadataOf(config),
    tensors: ggufTensorsOf(config, tensors).map((tensor) => encodeTensor(tensor, type)),
  });
  return file;
}

const goldens = [
  'llama',
  'smollm2',
  'mixtral',
  'qwen2',
  'qwen3',
  'qwen2_moe',
  'qwen3_moe',
  'deepseek_v2_lite',
  'deepseek_v3',
  'kimi_k2',
  'glm4_moe_lite',
  'glm4_moe',
  'glm4_moe_air',
  'gpt_oss',
  'ernie4_5',
  'ernie4_5_moe',
  'ernie4_5_moe_noshared',
];

describe('a golden model as a GGUF file', () => {
  it.each(goldens)('has the weights of %s to the bit', async (name) => {
    await using golden = await goldenCheckpoint(name);
    const [from, to] = [path.join(golden.path, 'a'), path.join(golden.path, 'b')];
    const options = { ranks: 1, weights: 'fp32' } as const;
    const original = await slice({ ...options, model: golden.checkpoint, out: from });
    const converted = await slice({ ...options, model: await asGguf(golden, 'BF16'), out: to });
    expect(converted.spec.layers).toEqual(original.spec.layers);
    const [a, b] = [await digestsOf(from), await digestsOf(to)];
    expect(b['rank-0/weights.bin']).toBe(a['rank-0/weights.bin']);
    expect(b['rank-0/graphs.bin']).toBe(a['rank-0/graphs.bin']);
  });
});
