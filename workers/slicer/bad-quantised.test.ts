/** What a quantised checkpoint may be instead of whole, and how slicing says so, leaving nothing behind. */
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  changeTensors,
  goldenFile,
  type TemporaryFolder,
  temporaryFolder,
} from '../../test/fixtures/tiny-checkpoint.ts';
import type { TensorBytes } from '../../test/goldens/write-checkpoint.ts';
import { slice } from './slice.ts';

let folder: TemporaryFolder;
let model: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  model = path.join(folder.path, 'checkpoint');
});

afterEach(() => folder[Symbol.asyncDispose]());

async function use(golden: string): Promise<void> {
  await cp(goldenFile(`quantized/${golden}`).replace(/[.]json$/, ''), model, { recursive: true });
}

const run = () => slice({ model, out: path.join(folder.path, 'package'), ranks: 1, weights: 'fp32' });

async function changeQuantisation(change: Readonly<Record<string, unknown>>): Promise<void> {
  const file = path.join(model, 'config.json');
  const config = JSON.parse(await readFile(file, 'utf8'));
  const quantization_config = { ...config.quantization_config, ...change };
  await writeFile(file, JSON.stringify({ ...config, quantization_config }));
}

/** Leaves out the tensors that match, or puts others in their place. */
function replace(pattern: RegExp, change: (tensor: TensorBytes) => readonly TensorBytes[]): Promise<void> {
  let found = 0;
  return changeTensors(model, (tensors) => {
    const changed = tensors.flatMap((tensor) => {
      if (!pattern.test(tensor.name)) return [tensor];
      found++;
      return change(tensor);
    });
    expect(found).toBeGreaterThan(0);
    return changed;
  });
}

async function expectRefused(code: string, message: RegExp): Promise<void> {
  await expect(run()).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
    remedy: expect.stringMatching(/./),
  });
  expect(await readdir(folder.path)).toEqual(['checkpoint']);
}

/** A NaN in bfloat16, float16 and float32 alike. */
const allOnes = (tensor: TensorBytes): TensorBytes[] => [
  { ...tensor, bytes: new Uint8Array(tensor.bytes.length).fill(0xff) },
];

describe('slicing refuses', () => {
  it.each([
    [
      'deepseek_v3_fp8_block',
      /layers.1.mlp.experts.3.up_proj.weight_scale_inv/,
      /neither .*weight_scale_inv nor .*weight_scale is there/,
    ],
    [
      'glm4_moe_fp8_channel',
      /layers.0.self_attn.o_proj.weight_scale/,
      /o_proj.weight is stored as F8_E4M3 without a scale/,
    ],
    ['kimi_k2_int4', /experts.3.down_proj.weight_scale/, /down_proj.weight_scale is not there/],
    ['qwen3_moe_gptq_int4', /layers.1.mlp.up_proj.scales/, /mlp.up_proj.scales is not there/],
    ['qwen3_moe_awq_int4', /layers.1.mlp.up_proj.qzeros/, /mlp.up_proj.qzeros is not there/],
    ['gpt_oss_mxfp4', /layers.1.*down_proj_scales/, /experts.down_proj_scales is not there/],
  ])('%s without a scale or zero points', async (golden, pattern, message) => {
    await use(golden);
    await replace(pattern, () => []);
    await expectRefused('INVALID_CHECKPOINT', message);
  });

  it.each([
    ['deepseek_v3_fp8_block', /layers.0.self_attn.kv_a_proj_with_mqa.weight_scale_inv/],
    ['glm4_moe_fp8_channel', /layers.2.mlp.experts.7.down_proj.weight_scale/],
    ['kimi_k2_int4', /experts.3.down_proj.weight_scale/],
    ['qwen3_moe_gptq_int4', /layers.1.mlp.up_proj.scales/],
    ['qwen3_moe_awq_int4', /layers.2.self_attn.q_proj.scales/],
    ['gpt_oss_mxfp4', /layers.1.*down_proj_scales/],
  ])('%s with a scale that is no number', async (golden, pattern) => {
    await use(golden);
    await replace(pattern, allOnes);
    await expectRefused('INVALID_CHECKPOINT', /scale.*holds NaN, which is no scale/);
  });

  it('FP8 weights that are no numbers', async () => {
    await use('glm4_moe_fp8_channel');
    await replace(/layers.0.mlp.up_proj.weight$/, allOnes);
    await expectRefused('INVALID_CHECKPOINT', /up_proj.weight holds NaN, which is no weight/);
  });

  it.each([
    [
      'deepseek_v3_fp8_block',
      { weight_block_size: [64, 128] },
      /weight_scale_inv has shape \[2, 2\], expected \[4, 2\]/,
    ],
    ['deepseek_v3_fp8_block', { quant_method: 'modelopt' }, /quant_method is "modelopt".*supported: fp8,/],
    ['qwen3_moe_gptq_int4', { group_size: 64 }, /qzeros has shape \[4, \d+\], expected \[2, \d+\]/],
    ['qwen3_moe_gptq_int4', { bits: 8 }, /bits is 8.*supported: 4/],
    ['qwen3_moe_gptq_int4', { quant_method: 'awq', version: 'gemm', zero_point: true }, /has shape .* expected/],
    ['qwen3_moe_awq_int4', { bits: 3 }, /bits is 3.*supported: 4/],
    ['qwen3_moe_awq_int4', { quant_method: 'mxfp4' }, /qweight is packed, but config.json does not say/],
    ['kimi_k2_int4', { format: 'int-quantized' }, /format is "int-quantized"/],
  ])('%s with a config.json of another model: %j', async (golden, change, message) => {
    await use(golden);
    await changeQuantisation(change);
    await expectRefused('INVALID_CHECKPOINT', message);
  });

  it('the order of activations without g_idx', async () => {
    await use('qwen3_moe_gptq_int4');
    await changeQuantisation({ desc_act: true });
    await replace(/layers.1.mlp.down_proj.g_idx/, () => []);
    await expectRefused('INVALID_CHECKPOINT', /desc_act.*down_proj.g_idx is not there/);
  });

  it('g_idx out of order where config.json rules it out', async () => {
    await use('qwen3_moe_gptq_int4');
    await replace(/layers.1.mlp.down_proj.g_idx/, (tensor) => [
      { ...tensor, bytes: new Uint8Array(tensor.bytes).reverse() },
    ]);
    await expectRefused('INVALID_CHECKPOINT', /down_proj.g_idx (names group|puts columns)/);
  });

  it('packed matrices of another shape', async () => {
    await use('kimi_k2_int4');
    await replace(/experts.3.down_proj.weight_(packed|scale|shape)/, ({ name, dtype, shape, bytes }) => {
      if (name.endsWith('_shape')) return [{ name, dtype, shape, bytes }];
      return [{ name, dtype, shape: [shape[0]! / 2, shape[1]!], bytes: bytes.subarray(0, bytes.length / 2) }];
    });
    await expectRefused('TENSOR_SHAPE', /down_proj.weight has shape \[64, 64\], config.json asks for \[128, 64\]/);
  });

  it('MXFP4 blocks of another shape than their scales', async () => {
    await use('gpt_oss_mxfp4');
    await replace(/layers.1.*down_proj_blocks/, (tensor) => [{ ...tensor, shape: [8, 64, 4, 8] }]);
    await expectRefused('INVALID_CHECKPOINT', /ask for \[8, 64, 2, 16\]/);
  });
});

it('what tells how others round activations is left out', async () => {
  await use('glm4_moe_fp8_channel');
  const lone = (name: string): TensorBytes => ({ name, dtype: 'F32', shape: [1], bytes: new Uint8Array(4) });
  await changeTensors(model, (tensors) => [
    ...tensors,
    lone('model.layers.0.mlp.up_proj.input_scale'),
    lone('model.layers.0.self_attn.k_proj.k_scale'),
  ]);
  expect((await run()).shards).toHaveLength(1);
});
