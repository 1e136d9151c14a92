/** A checkpoint that another program saved again, in another layout, must become the same package to the byte. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type DeltaSizes,
  ernieCorrection,
  flatDelta,
  groupedDelta,
  type Layout,
  perExpert,
  renamed,
  stacked,
  stackedAcross,
  widened,
  withExtras,
} from '../../test/fixtures/tensor-layouts.ts';
import { digestsOf, goldenFile, type TemporaryFolder, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { buildTensors, type GoldenRecipe, readGolden } from '../../test/goldens/build-checkpoint.ts';
import { plainTokenizer, writeSafetensors } from '../../test/goldens/write-checkpoint.ts';
import { slice } from './slice.ts';

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Graphs and weights of every rank of a checkpoint in this layout. */
async function packageOf(golden: GoldenRecipe, layouts: readonly Layout[], label: string) {
  const model = path.join(folder.path, label);
  await mkdir(model);
  const original = buildTensors(golden);
  const tensors = layouts.reduce((from, layout) => layout(from), original);
  await writeFile(path.join(model, 'config.json'), JSON.stringify(golden.config));
  await writeFile(path.join(model, 'tokenizer.json'), JSON.stringify(plainTokenizer(512)));
  await writeSafetensors(path.join(model, 'model.safetensors'), tensors);
  const out = path.join(folder.path, `${label} package`);
  await slice({ model, out, ranks: ranksOf(golden), weights: 'fp32' });
  const files = Object.entries(await digestsOf(out)).filter(([file]) => file.endsWith('.bin'));
  return { digests: Object.fromEntries(files), names: tensors.map(({ name }) => name) };
}

/** Two, so that parts of stacked tensors are read; but SmolLM has three heads. */
function ranksOf({ config: { num_key_value_heads: heads } }: GoldenRecipe): number {
  return heads === 3 ? 3 : 2;
}

const delta: DeltaSizes = { keyHeads: 2, keyDim: 16, valueHeads: 4, valueDim: 24 };
const underPrefix = renamed([/^model[.]/, 'model.language_model.']);
const asMixtral = renamed(
  [/[.]mlp[.]experts[.](\d+)[.]gate_proj[.]/, '.block_sparse_moe.experts.$1.w1.'],
  [/[.]mlp[.]experts[.](\d+)[.]up_proj[.]/, '.block_sparse_moe.experts.$1.w3.'],
  [/[.]mlp[.]experts[.](\d+)[.]down_proj[.]/, '.block_sparse_moe.experts.$1.w2.'],
  [/[.]mlp[.]gate[.]weight$/, '.block_sparse_moe.gate.weight'],
  [/[.]mlp[.]gate[.]e_score_correction_bias$/, '.block_sparse_moe.e_score_correction_bias'],
);
const asDeepseek = renamed(
  [/[.]block_sparse_moe[.]experts[.](\d+)[.]w1[.]/, '.mlp.experts.$1.gate_proj.'],
  [/[.]block_sparse_moe[.]experts[.](\d+)[.]w3[.]/, '.mlp.experts.$1.up_proj.'],
  [/[.]block_sparse_moe[.]experts[.](\d+)[.]w2[.]/, '.mlp.experts.$1.down_proj.'],
  [/[.]block_sparse_moe[.]gate[.]weight$/, '.mlp.gate.weight'],
  [/[.]block_sparse_moe[.]e_score_correction_bias$/, '.mlp.gate.e_score_correction_bias'],
  [/[.]mlp[.]gate[.]wg[.]weight$/, '.mlp.gate.weight'],
  [/[.]mlp[.]router[.]/, '.mlp.gate.'],
  [/[.]shared_(expert|mlp)[.]/, '.shared_experts.'],
  [/[.]query_layernorm[.]/, '.q_norm.'],
  [/[.]key_layernorm[.]/, '.k_norm.'],
);
const asHunyuan = renamed(
  [/[.]mlp[.]gate[.]weight$/, '.mlp.gate.wg.weight'],
  [/[.]shared_experts?[.]/, '.shared_mlp.'],
  [/[.]self_attn[.]q_norm[.]/, '.self_attn.query_layernorm.'],
  [/[.]self_attn[.]k_norm[.]/, '.self_attn.key_layernorm.'],
);
/** Layer 9 is beyond the last of every golden. */
const extras = withExtras(
  'model.layers.9.eh_proj.weight',
  'model.layers.9.self_attn.q_proj.weight',
  'mtp.fc.weight',
  'model.mtp_block.0.mlp.gate_proj.weight',
  'model.mtp_linear_proj.0.weight',
  'model.layers.0.self_attn.rotary_emb.inv_freq',
  'model.visual.patch_embed.proj.weight',
);

const withoutExperts = ['llama', 'qwen2', 'qwen3', 'smollm2', 'ernie4_5'];
const deepseek = [
  'deepseek_v2_lite',
  'deepseek_v2',
  'deepseek_v3',
  'kimi_k2',
  'deepseek_v32',
  'glm4_moe_lite',
  'glm_moe_dsa',
];
const ernie = ['ernie4_5_moe', 'ernie4_5_moe_noshared'];
const byExpert = [
  ...deepseek,
  'qwen3_moe',
  'qwen2_moe',
  'qwen3_next',
  'glm4_moe',
  'glm4_moe_air',
  ...ernie,
  'hunyuan_v1_moe',
  'minimax_m2',
  'mixtral',
];
const byDeepseekNames = byExpert.filter(
  (name) => !['minimax_m2', 'mixtral', 'hunyuan_v1_moe', ...ernie].includes(name),
);
const all = [...withoutExperts, ...byExpert, 'gpt_oss', 'qwen3_5_moe', 'qwen3_5_moe_vl'];

/** Of every golden the other layouts of what it has. */
const cases: readonly (readonly [label: string, goldens: readonly string[], layouts: readonly Layout[]])[] = [
  ['in float32', all, [widened]],
  ['with tensors of no use', all, [extras]],
  ['within a model for images', all.filter((name) => name !== 'qwen3_5_moe_vl'), [underPrefix]],
  ['with experts stacked', byExpert, [stacked]],
  ['with experts stacked across', byExpert, [stackedAcross]],
  ['with names of Mixtral', byDeepseekNames, [asMixtral]],
  ['with names of Hunyuan', byDeepseekNames, [asHunyuan]],
  [
    'with names of DeepSeek',
    ['mixtral', 'minimax_m2', 'hunyuan_v1_moe', 'qwen2_moe', 'qwen3_next', 'gpt_oss'],
    [asDeepseek],
  ],
  ['with stacked experts and names of DeepSeek', ['mixtral', 'minimax_m2', 'hunyuan_v1_moe'], [asDeepseek, stacked]],
  ['with its correction as others have it', ['ernie4_5_moe', 'deepseek_v3', 'glm4_moe'], [ernieCorrection]],
  ['with an expert a matrix', ['qwen3_5_moe', 'qwen3_5_moe_vl'], [perExpert(false)]],
  ['with an expert a matrix and a bias', ['gpt_oss'], [perExpert(true)]],
  ['with flat projections of delta nets', ['qwen3_next'], [flatDelta(delta)]],
  ['with grouped projections of delta nets', ['qwen3_5_moe', 'qwen3_5_moe_vl'], [groupedDelta(delta)]],
];

describe.each(all)('%s', (name) => {
  const golden = readGolden(goldenFile(name));
  let expected: Awaited<ReturnType<typeof packageOf>>;
  beforeAll(async () => {
    expected = await packageOf(await golden, [], name);
    expect(Object.keys(expected.digests)).toHaveLength(2 * ranksOf(await golden));
  });

  const own = cases.filter(([, goldens]) => goldens.includes(name));
  it.each(own)('is the same package %s', async (label, _, layouts) => {
    const found = await packageOf(await golden, layouts, `${name} ${label}`);
    if (label !== 'in float32') expect(found.names).not.toEqual(expected.names);
    expect(found.digests).toEqual(expected.digests);
  });
});

describe('a tensor that no part of the model is', () => {
  const refusal = async (name: string, ...layouts: readonly Layout[]): Promise<unknown> =>
    packageOf(await readGolden(goldenFile(name)), layouts, `refused ${name} ${Math.random()}`).then(
      () => undefined,
      (error: unknown) => error,
    );

  it.each([
    ['qwen3_moe', 'model.layers.0.self_attn.g_proj.weight'],
    ['qwen3_moe', 'model.layers.1.mlp.experts.0.gate_proj.weight'],
    ['qwen3_moe', 'model.layers.0.mlp.shared_expert_gate.weight'],
    ['deepseek_v3', 'model.layers.0.self_attn.indexer.wk.weight'],
    ['llama', 'model.layers.0.self_attn.q_proj.bias'],
    ['llama', 'model.language_model.embed_tokens.weight'],
    ['llama', 'model.mtp_bonus.weight'],
    ['smollm2', 'lm_head.bias'],
  ])('of %s, %s, is not left out in silence', async (golden, tensor) => {
    expect(await refusal(golden, withExtras(tensor))).toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringContaining(`tensor ${tensor} is no part of a`),
    });
  });

  it('is the second of two that hold the same', async () => {
    const twice: Layout = (tensors) => [...tensors, ...stacked(tensors).filter(({ name }) => /_proj$/.test(name))];
    expect(await refusal('qwen3_moe', twice)).toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringContaining('experts.gate_up_proj is no part of'),
    });
  });

  it('is missing where only half of stacked experts is there', async () => {
    const halved: Layout = (tensors) =>
      stacked(tensors).filter(({ name }) => name !== 'model.layers.0.mlp.experts.down_proj');
    expect(await refusal('qwen3_moe', halved)).toMatchObject({
      code: 'MISSING_TENSOR',
      message: expect.stringContaining('model.layers.0.mlp.experts.down_proj'),
    });
  });

  it('has the wrong shape where stacked experts lie one way and the other', async () => {
    const mixed: Layout = (tensors) => [
      ...stacked(tensors).filter(({ name }) => !name.endsWith('experts.down_proj')),
      ...stackedAcross(tensors).filter(({ name }) => name.endsWith('experts.down_proj')),
    ];
    expect(await refusal('qwen3_moe', mixed)).toMatchObject({
      code: 'TENSOR_SHAPE',
      message: expect.stringMatching(/experts.down_proj has shape \[8, 24, 64\], config.json asks for \[8, 64, 24\]/),
    });
  });

  it('leaves no package', async () => {
    await refusal('llama', withExtras('model.layers.0.self_attn.q_proj.bias'));
    const left = (await readdir(folder.path)).filter((entry) => /^refused llama .* package$/.test(entry));
    expect(left).toEqual([]);
  });
});

describe('square matrices of stacked experts', () => {
  /** Experts as wide as the model, of which a matrix does not say itself which way it lies. */
  it('are read as the other tensor of the layer lies', async () => {
    const from = await readGolden(goldenFile('mixtral'));
    const shapes = Object.entries(from.tensors).map(([name, tensor]) => {
      const square = /experts[.]\d+[.]w\d[.]weight$/.test(name) ? [64, 64] : tensor.shape;
      return [name, { ...tensor, shape: square }] as const;
    });
    const golden = {
      ...from,
      config: { ...from.config, intermediate_size: 64 },
      tensors: Object.fromEntries(shapes),
    };
    const { digests } = await packageOf(golden, [], 'square');
    expect((await packageOf(golden, [stacked], 'square stacked')).digests).toEqual(digests);
    expect((await packageOf(golden, [stackedAcross], 'square across')).digests).toEqual(digests);
  });
});
