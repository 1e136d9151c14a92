import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { VerifyReport } from '../../workers/verify/verify.ts';
import { buildCheckpoint, readGolden } from '../goldens/build-checkpoint.ts';
import { trireme } from './start-system.ts';

/**
 * One of each kind of attention, of routing and of what ranks tell each other: latent, sparse, gated delta nets, sinks and windows, norms
 * over all ranks, rotated neighbours, shared experts, a vocabulary that does not divide, a model for images.
 */
const families = [
  'deepseek_v3',
  'glm_moe_dsa',
  'qwen3_next',
  'qwen3_5_moe_vl',
  'gpt_oss',
  'minimax_m2',
  'ernie4_5_moe',
  'glm4_moe',
  'hunyuan_v1_moe',
];

const goldens = path.join(import.meta.dirname, '..', 'goldens');
const demo = path.join(import.meta.dirname, '..', '..', 'models', 'demo');
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'trireme-goldens-'));
  for (const name of ['llama', 'qwen3_moe', 'smollm2', ...families]) {
    expect(await buildCheckpoint(await readGolden(goldenOf(name)), path.join(folder, name))).toEqual([]);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const goldenOf = (name: string): string => path.join(goldens, `${name}.json`);
const modelOf = (name: string): string => {
  if (name === 'demo') return demo;
  return path.join(name.startsWith('quantized/') ? goldens : folder, name);
};

async function verify(name: string, golden: string, ...flags: readonly string[]) {
  const command = trireme('verify', '--model', modelOf(name), '--golden', golden, '--json', ...flags);
  const { status } = await command.exited;
  const line = command.output.split('\n').find((text) => text.startsWith('{'));
  return { status, output: command.output, report: line ? (JSON.parse(line) as VerifyReport) : undefined };
}

const cases: readonly (readonly [name: string, ranks: number, transport: string])[] = [
  ...['llama', 'qwen3_moe'].flatMap((name) => [1, 2, 4].map((ranks) => [name, ranks] as const)),
  ...[1, 3].map((ranks) => ['smollm2', ranks] as const),
  ...[1, 2].map((ranks) => ['demo', ranks] as const),
  ['quantized/qwen3_moe_fp8_block', 2] as const,
  ['quantized/gpt_oss_mxfp4', 4] as const,
  ['quantized/kimi_k2_int4', 2] as const,
]
  .flatMap(([name, ranks]) =>
    (ranks === 1 ? ['threads'] : ['threads', 'tcp']).map((way) => [name, ranks, way] as const),
  )
  .concat(families.map((name) => [name, 2, name === 'minimax_m2' ? 'tcp' : 'threads'] as const));

test.each(cases)('%s on %i ranks over %s agrees with its golden in fp32', async (name, ranks, transport) => {
  const { status, report, output } = await verify(
    name,
    goldenOf(name),
    '--ranks',
    `${ranks}`,
    '--transport',
    transport,
  );
  expect([status, output]).toEqual([0, expect.stringContaining('"passed":true')]);
  for (const scenario of report!.scenarios) {
    expect(scenario.logitError).toBeLessThan(1e-4);
    expect(scenario.continuationEqual).toBe(true);
  }
});

test.each([
  ['quantized/qwen3_moe_awq_int4', 4, 'tcp'],
  ['quantized/qwen3_moe_gptq_int4', 2, 'threads'],
])('%s on %i ranks over %s keeps its integers: exact in fp32, told in int8', async (name, ranks, way) => {
  const flags = ['--ranks', `${ranks}`, '--transport', way, '--weights', 'native'];
  const exact = await verify(name, goldenOf(name), ...flags, '--activations', 'fp32');
  expect([exact.status, exact.report]).toEqual([0, expect.objectContaining({ passed: true, tolerance: 1e-4 })]);
  for (const { continuationEqual } of exact.report!.scenarios) expect(continuationEqual).toBe(true);
  const served = await verify(name, goldenOf(name), ...flags);
  expect([served.status, served.report]).toEqual([
    0,
    expect.objectContaining({ tolerance: null, activations: 'int8' }),
  ]);
});

test('a golden that the model does not meet ends with 1 and names the first layer that departs', async () => {
  const golden = JSON.parse(readFileSync(goldenOf('llama'), 'utf8'));
  golden.logits['23'][7] += 0.01;
  golden.hidden_last[1][0] += 0.01;
  const file = path.join(folder, 'altered.json');
  writeFileSync(file, JSON.stringify(golden));
  const { status, report } = await verify('llama', file);
  expect(status).toBe(1);
  expect(report).toMatchObject({ passed: false });
  expect(JSON.stringify(report)).toMatch(/"layer":1/);
});
