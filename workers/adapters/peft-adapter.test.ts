import { rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type AdapterShape, writeAdapter } from '../../test/fixtures/made-adapter.ts';
import { goldenCheckpoint, readTensors } from '../../test/fixtures/tiny-checkpoint.ts';
import { writeSafetensors } from '../../test/goldens/write-checkpoint.ts';
import { readModelSpec } from '../models/families.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readJson } from '../slicer/checkpoint.ts';
import { PeftAdapter } from './peft-adapter.ts';

const shape: AdapterShape = { seed: 1, rank: 4, alpha: 8, targets: /self_attn[.](o|q_b)_proj[.]weight$/ };
let model: Awaited<ReturnType<typeof goldenCheckpoint>>;
let spec: ModelSpec;
let folder: string;

beforeAll(async () => {
  model = await goldenCheckpoint('deepseek_v3');
  spec = readModelSpec(await readJson(model.checkpoint, 'config.json'));
  folder = path.join(model.path, 'adapter');
});
afterAll(() => model[Symbol.asyncDispose]());
beforeEach(() => writeAdapter(model.checkpoint, folder, shape));

const output = 'model.layers.1.self_attn.o_proj.weight';
const whole = { tensor: output, rows: [{ first: 0, count: 64 }], columns: { first: 0, count: 96 } };

describe('reading an adapter', () => {
  test('cuts what it changes as the matrix is cut, and leaves the rest alone', async () => {
    const adapter = await PeftAdapter.read(folder, spec, 8);
    const all = adapter.sliceOf(whole)!;
    expect([all.rank, all.scale, all.down.length, all.up.length]).toEqual([4, 2, 4 * 96, 4 * 64]);
    const part = adapter.sliceOf({ ...whole, rows: [{ first: 3, count: 2 }], columns: { first: 90, count: 6 } })!;
    for (let line = 0; line < 4; line++) {
      const from = line * 96 + 90;
      expect([...part.down.subarray(line * 6, line * 6 + 6)]).toEqual([...all.down.subarray(from, from + 6)]);
      expect([...part.up.subarray(line * 2, line * 2 + 2)]).toEqual([...all.up.subarray(line * 64 + 3, line * 64 + 5)]);
    }
    expect(adapter.sliceOf({ ...whole, tensor: 'model.layers.0.mlp.gate_proj.weight' })).toBeUndefined();
  });

  test('scales by alpha over the rank or its root, by patterns where there are any', async () => {
    await writeAdapter(model.checkpoint, folder, { ...shape, config: { use_rslora: true } });
    expect((await PeftAdapter.read(folder, spec, 8)).sliceOf(whole)!.scale).toBe(4);
    const patterns = { alpha_pattern: { 'layers.1.self_attn.o_proj': 2 } };
    await writeAdapter(model.checkpoint, folder, { ...shape, config: patterns });
    const adapter = await PeftAdapter.read(folder, spec, 8);
    expect(adapter.sliceOf(whole)!.scale).toBe(0.5);
    expect(adapter.sliceOf({ ...whole, tensor: output.replace('1', '0') })!.scale).toBe(2);
  });
});

describe('refusing an adapter', () => {
  const refused = async (code: string, message: RegExp, mostRank = 8): Promise<void> => {
    const reading = PeftAdapter.read(folder, spec, mostRank);
    await expect(reading).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  };

  test.each([
    [{ peft_type: 'IA3' }, /peft_type: only LoRA/],
    [{ use_dora: true }, /use_dora: DoRA/],
    [{ bias: 'all' }, /bias: biases cannot/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save/],
    [{ r: 0 }, /adapter_config.json: r: /],
    [{ lora_alpha: 'many' }, /lora_alpha/],
    [{ r: 5 }, /lora_A.weight has shape \[4, \d+\], the model asks for \[5, \d+\]/],
  ])('of a kind that cannot be added to products: %j', async (config, message) => {
    await writeAdapter(model.checkpoint, folder, { ...shape, config });
    await refused('INVALID_ADAPTER', message);
  });

  test.each([
    [/mlp[.]experts[.]3[.]up_proj[.]weight$/, /experts[.]3[.]up_proj: experts run for few rows/],
    [/kv_b_proj[.]weight$/, /kv_b_proj: it is multiplied into queries/],
    [/mlp[.]gate[.]weight$/, /mlp[.]gate: only matrices of attention and of dense MLPs/],
  ])('that changes a matrix which takes none: %s', async (targets, message) => {
    await writeAdapter(model.checkpoint, folder, { ...shape, targets });
    await refused('INVALID_ADAPTER', message);
  });

  test('of another model, of a rank too large, or without half of a module', async () => {
    await refused('INVALID_ADAPTER', /rank 4 of .* is above 3, the largest that fits/, 3);
    const file = path.join(folder, 'adapter_model.safetensors');
    const tensors = await readTensors(file);
    await writeSafetensors(file, tensors.slice(1));
    await refused('INVALID_ADAPTER', /has one of its two matrices only/);
    await writeSafetensors(
      file,
      tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace('layers.2', 'layers.9') })),
    );
    await refused('INVALID_ADAPTER', /layers[.]9.*which the model does not have/);
    await writeSafetensors(
      file,
      tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace('lora_A', 'lora_magnitude_vector') })),
    );
    await refused('INVALID_ADAPTER', /lora_magnitude_vector.* is no part of a plain LoRA adapter/);
  });

  test('whose files are absent, cut short or no JSON', async () => {
    const file = path.join(folder, 'adapter_model.safetensors');
    await truncate(file, 4000);
    await refused('TRUNCATED_FILE', /ends early/);
    await rm(file);
    await refused('UNKNOWN_ADAPTER', /has no adapter_model.safetensors/);
    await writeFile(path.join(folder, 'adapter_config.json'), '{"r": 4,');
    await refused('INVALID_ADAPTER', /is malformed/);
    await rm(path.join(folder, 'adapter_config.json'));
    await refused('UNKNOWN_ADAPTER', /has no adapter_config.json/);
  });
});
