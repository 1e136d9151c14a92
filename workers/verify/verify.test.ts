import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { convertCheckpoint } from '../../test/fixtures/gguf-checkpoint.ts';
import { buildCheckpoint, readGolden } from '../../test/goldens/build-checkpoint.ts';
import { demoModel, scratchFolder } from '../../test/numerics/demo-package.ts';
import { verify } from './verify.ts';

const goldenFile = (name: string): string => new URL(`../../test/goldens/${name}.json`, import.meta.url).pathname;

async function modelOf(name: string): Promise<string> {
  if (name === 'demo') return demoModel;
  if (name.startsWith('quantized/')) return goldenFile(name).replace(/[.]json$/, '');
  const folder = path.join(scratchFolder(), `checkpoint-${name}`);
  expect(await buildCheckpoint(await readGolden(goldenFile(name)), folder)).toEqual([]);
  return folder;
}

const cases = [
  ['llama', 1, 'threads'],
  ['llama', 2, 'tcp'],
  ['llama', 4, 'threads'],
  ['qwen3_moe', 1, 'threads'],
  ['qwen3_moe', 2, 'threads'],
  ['qwen3_moe', 4, 'tcp'],
  ['smollm2', 1, 'threads'],
  ['smollm2', 3, 'tcp'],
  ['demo', 1, 'threads'],
  ['demo', 2, 'tcp'],
  ['demo', 4, 'threads'],
  ['quantized/deepseek_v3_fp8_block', 4, 'threads'],
  ['quantized/glm4_moe_fp8_channel', 2, 'threads'],
  ['quantized/gpt_oss_mxfp4', 2, 'tcp'],
  ['quantized/kimi_k2_int4', 4, 'threads'],
  ['quantized/qwen3_moe_awq_int4', 1, 'threads'],
  ['quantized/qwen3_moe_fp8_block', 2, 'threads'],
  ['quantized/qwen3_moe_gptq_int4', 4, 'threads'],
] as const;

/** ONNX Runtime sums products of heads wider than 128 in another order for other numbers of positions: within the tolerance. */
const wideHeads: ReadonlySet<string> = new Set(['quantized/deepseek_v3_fp8_block']);

for (const [name, ranks, transport] of cases) {
  test(`${name} at ${ranks} ranks over ${transport} agrees with its golden in every scenario`, async () => {
    const model = await modelOf(name);
    const report = await verify({ model, golden: goldenFile(name), ranks, transport, weights: 'fp32' });
    expect(report.passed).toBe(true);
    expect(report.scenarios.map(({ scenario }) => scenario)).toEqual(['whole', 'stepwise', 'chunks', 'batch']);
    for (const scenario of report.scenarios) {
      expect(scenario).toMatchObject({ argmaxDepartures: [], continuationEqual: true, firstDeparture: undefined });
      expect(scenario.logitError).toBeLessThan(2e-5);
    }
    const errors = new Set(report.scenarios.map(({ logitError }) => logitError));
    if (!wideHeads.has(name)) expect(errors.size).toBe(1);
  });
}

const asGguf = ['llama', 'qwen2', 'qwen3_moe', 'deepseek_v2_lite'].flatMap((name) =>
  (['F32', 'BF16'] as const).map((type) => [name, type] as const),
);

test.each(asGguf)('%s as a GGUF file in %s agrees with its golden in every scenario', async (name, type) => {
  const model = path.join(scratchFolder(), `${name}-${type}.gguf`);
  await convertCheckpoint(await modelOf(name), model, type);
  const report = await verify({ model, golden: goldenFile(name), ranks: 2, transport: 'threads', weights: 'fp32' });
  expect(report.passed).toBe(true);
  for (const scenario of report.scenarios) expect(scenario.logitError).toBeLessThan(2e-5);
});

for (const name of ['kimi_k2_int4', 'qwen3_moe_gptq_int4', 'qwen3_moe_awq_int4']) {
  test(`${name} with its own integers agrees in float32, and comes near with rows in int8`, async () => {
    const model = await modelOf(`quantized/${name}`);
    const common = { model, golden: goldenFile(`quantized/${name}`), ranks: 2, transport: 'threads' } as const;
    const exact = await verify({ ...common, weights: 'native', activations: 'fp32' });
    expect(exact).toMatchObject({ passed: true, tolerance: 1e-4, activations: 'fp32' });
    for (const { logitError, continuationEqual } of exact.scenarios) {
      expect(logitError).toBeLessThan(2e-5);
      expect(continuationEqual).toBe(true);
    }
    const served = await verify({ ...common, weights: 'native' });
    expect(served).toMatchObject({ passed: true, tolerance: null, activations: 'int8' });
    expect(new Set(served.scenarios.map(({ logitError }) => logitError)).size).toBe(1);
    expect(served.scenarios[0]!.logitError).toBeGreaterThan(1e-3);
    expect(served.scenarios[0]!.logitError).toBeLessThan(0.1);
  });
}

test('one changed weight in a layer makes the verification fail and name that layer', async () => {
  const folder = path.join(scratchFolder(), 'checkpoint-spoilt');
  cpSync(await modelOf('llama'), folder, { recursive: true });
  const file = path.join(folder, 'model.safetensors');
  const bytes = readFileSync(file);
  const headLength = Number(bytes.readBigUInt64LE());
  const head = JSON.parse(bytes.subarray(8, 8 + headLength).toString());
  const [begin] = head['model.layers.1.mlp.down_proj.weight'].data_offsets as [number, number];
  bytes.writeUInt16LE(0x4000, 8 + headLength + begin); // 2.0 in bfloat16
  writeFileSync(file, bytes);
  const golden = goldenFile('llama');
  const report = await verify({ model: folder, golden, ranks: 2, transport: 'threads', weights: 'fp32' });
  expect(report.passed).toBe(false);
  for (const { firstDeparture } of report.scenarios) expect(firstDeparture).toMatchObject({ layer: 1, what: 'hidden' });
});

test('quantised weights report their errors and pass when all scenarios agree', async () => {
  const common = { model: demoModel, golden: goldenFile('demo'), ranks: 2, transport: 'threads' } as const;
  const [int8, int4] = await Promise.all([
    verify({ ...common, weights: 'int8' }),
    verify({ ...common, weights: 'int4' }),
  ]);
  for (const report of [int8, int4]) expect(report).toMatchObject({ passed: true, tolerance: null });
  const [e8, e4] = [int8, int4].map(({ scenarios }) => scenarios[0]!.logitError) as [number, number];
  expect(e8).toBeGreaterThan(0.01);
  expect(e8).toBeLessThan(0.2);
  expect(e4).toBeGreaterThan(e8);
});

test('a file that is no golden, or not there, is refused before anything is sliced', async () => {
  const options = { model: demoModel, ranks: 1, transport: 'threads', weights: 'fp32' } as const;
  await expect(verify({ ...options, golden: '/nowhere.json' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  const config = path.join(demoModel, 'config.json');
  await expect(verify({ ...options, golden: config })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('a signal ends a verification with its reason', async () => {
  const signal = AbortSignal.abort(new Error('not now'));
  const golden = goldenFile('demo');
  await expect(
    verify({ model: demoModel, golden, ranks: 1, transport: 'threads', weights: 'fp32', signal }),
  ).rejects.toThrow();
});
