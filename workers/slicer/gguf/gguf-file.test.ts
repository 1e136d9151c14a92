/** Golden models as GGUF files: the same layers, and weights to the bit, as from their safetensors. */
import { truncateSync } from 'node:fs';
import { copyFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../../services/tokenizer/tokenizer.ts';
import { blockConfigs, blockModel } from '../../../test/fixtures/block-model.ts';
import { blockTypes } from '../../../test/fixtures/ggml-blocks.ts';
import { convertCheckpoint } from '../../../test/fixtures/gguf-checkpoint.ts';
import { partName, writeGgufParts } from '../../../test/fixtures/gguf-parts.ts';
import {
  f32,
  flag,
  flags,
  type GgufContents,
  type GgufTensor,
  type GgufValue,
  i32,
  integers,
  text,
  u16,
  u32,
  u64,
  writeGguf,
} from '../../../test/fixtures/gguf-writer.ts';
import {
  digestsOf,
  goldenCheckpoint,
  type TemporaryFolder,
  temporaryFolder,
} from '../../../test/fixtures/tiny-checkpoint.ts';
import { inspect } from '../inspect.ts';
import { openCheckpoint } from '../open-checkpoint.ts';
import { slice } from '../slice.ts';

let folder: TemporaryFolder;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());
const at = (name: string): string => path.join(folder.path, name);

const once = { ranks: 1, weights: 'fp32' } as const;

/** Digests of rank 0 of the package. */
async function sliced(model: string): Promise<{ readonly weights: string; readonly graphs: string }> {
  const out = at('package');
  await slice({ ...once, model, out });
  const digests = await digestsOf(out);
  await rm(out, { recursive: true });
  return { weights: digests['rank-0/weights.bin']!, graphs: digests['rank-0/graphs.bin']! };
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
  it.each(goldens)('has the layers and weights of %s to the bit', async (name) => {
    await using golden = await goldenCheckpoint(name);
    await convertCheckpoint(golden.checkpoint, at('model.gguf'), 'BF16');
    await using original = await openCheckpoint(golden.checkpoint);
    await using converted = await openCheckpoint(at('model.gguf'));
    const { family, rotary, ...same } = original.spec;
    expect(converted.spec).toMatchObject(same);
    expect({ ...converted.spec.rotary, scaling: rotary.scaling }).toEqual(rotary);
    if (rotary.scaling.kind !== 'llama3') expect(converted.spec.rotary).toEqual(rotary);
    if (family !== 'glm4_moe_lite') expect(converted.spec.family).toBe(family);
    expect(await sliced(at('model.gguf'))).toEqual(await sliced(golden.checkpoint));
  });
});

describe.each(blockTypes)('a model in $name', (type) => {
  it('has the weights that its blocks stand for, to the bit', async () => {
    const { floats, gguf } = await blockModel(folder.path, type, blockConfigs.qwen3_moe);
    expect(await sliced(gguf)).toEqual(await sliced(floats));
    expect(await inspect(gguf)).toMatchObject({ storedTypes: ['F32', type.name] });
  });
});

type Change = (contents: GgufContents) => GgufContents;

/** Sets keys of the metadata; undefined takes one away. */
const withKeys =
  (changes: Readonly<Record<string, GgufValue | undefined>>): Change =>
  ({ metadata, ...contents }) => {
    const kept = metadata.filter(([key]) => !(key in changes));
    const added = Object.entries(changes).flatMap(([key, value]) => (value ? [[key, value] as const] : []));
    return { ...contents, metadata: [...kept, ...added] };
  };

const withTensors =
  (change: (tensors: readonly GgufTensor[]) => readonly GgufTensor[]): Change =>
  (contents) => ({ ...contents, tensors: change(contents.tensors) });

const without = (name: string): Change => withTensors((tensors) => tensors.filter((tensor) => tensor.name !== name));
const replaced = (name: string, change: (tensor: GgufTensor) => GgufTensor): Change =>
  withTensors((tensors) => tensors.map((tensor) => (tensor.name === name ? change(tensor) : tensor)));
const zeros = (name: string, shape: readonly number[]): GgufTensor => {
  const values = shape.reduce((product, size) => product * size, 1);
  return { name, shape, type: 0, bytes: new Uint8Array(4 * values) };
};
const added = (tensor: GgufTensor): Change => withTensors((tensors) => [...tensors, tensor]);

async function convert(golden: string, file: string, change: Change): Promise<void> {
  await using checkpoint = await goldenCheckpoint(golden);
  await convertCheckpoint(checkpoint.checkpoint, file, 'BF16', change);
}

describe('a GGUF file is refused', () => {
  const rejected = async (model: string, code: string, message: RegExp): Promise<void> => {
    const refusal = { code, message: expect.stringMatching(message) };
    await expect(slice({ ...once, model, out: at('package') })).rejects.toMatchObject(refusal);
    expect((await readdir(folder.path)).filter((name) => !name.endsWith('.gguf'))).toEqual([]);
  };
  const key = (name: string, value: GgufValue | undefined): Change => withKeys({ [name]: value });

  const wrong: readonly (readonly [string, string, Change, string, RegExp])[] = [
    [
      'of an unknown architecture',
      'llama',
      key('general.architecture', text('mamba')),
      'UNKNOWN_FAMILY',
      /architecture "mamba" is not known; known: llama, qwen2, .*ernie4_5-moe/,
    ],
    [
      'without an architecture',
      'llama',
      key('general.architecture', undefined),
      'INVALID_CHECKPOINT',
      /no general.architecture/,
    ],
    [
      'with an architecture that is a number',
      'llama',
      key('general.architecture', u32(1)),
      'INVALID_CHECKPOINT',
      /general.architecture is 1, expected a text/,
    ],
    [
      'that is an adapter',
      'llama',
      key('general.type', text('adapter')),
      'INVALID_CHECKPOINT',
      /general.type is "adapter", which is not supported/,
    ],
    [
      'without a size',
      'llama',
      key('llama.context_length', undefined),
      'INVALID_CHECKPOINT',
      /no llama.context_length/,
    ],
    [
      'with a size that is a text',
      'llama',
      key('llama.embedding_length', text('64')),
      'INVALID_CHECKPOINT',
      /llama.embedding_length is "64"/,
    ],
    [
      'with a size that is negative',
      'llama',
      key('llama.embedding_length', i32(-64)),
      'INVALID_CHECKPOINT',
      /llama.embedding_length is -64/,
    ],
    [
      'with a size of 64 bits',
      'llama',
      key('llama.embedding_length', u64(2n ** 60n)),
      'INVALID_CHECKPOINT',
      /llama.embedding_length is "?1152921504606846976/,
    ],
    [
      'with an epsilon that is no number',
      'llama',
      key('llama.attention.layer_norm_rms_epsilon', f32(Number.NaN)),
      'INVALID_CHECKPOINT',
      /rms_epsilon is null, expected a number/,
    ],
    [
      'with an epsilon of 0',
      'llama',
      key('llama.attention.layer_norm_rms_epsilon', f32(0)),
      'INVALID_CHECKPOINT',
      /the metadata of model.gguf, read as a config.json: rms_norm_eps is 0/,
    ],
    [
      'with an unknown key',
      'llama',
      key('llama.attention.temperature_scale', f32(0.1)),
      'INVALID_CHECKPOINT',
      /llama.attention.temperature_scale is 0.1, and no part of what is known/,
    ],
    [
      'with more layers than tensors',
      'llama',
      key('llama.block_count', u32(2_000_000_000)),
      'INVALID_CHECKPOINT',
      /llama.block_count is 2000000000/,
    ],
    ['without layers', 'llama', key('llama.block_count', u32(0)), 'INVALID_CHECKPOINT', /llama.block_count is 0/],
    [
      'with heads that differ by layer',
      'llama',
      key('llama.attention.head_count', integers([8, 4])),
      'INVALID_CHECKPOINT',
      /head_count is \[8,4\], expected the same size in every layer/,
    ],
    [
      'with values narrower than keys',
      'llama',
      key('llama.attention.value_length', u32(4)),
      'INVALID_CHECKPOINT',
      /value_length is 4.*supported: 8/,
    ],
    [
      'with half its heads rotated',
      'llama',
      key('llama.rope.dimension_count', u32(4)),
      'INVALID_CHECKPOINT',
      /rope.dimension_count is 4.*supported: 8/,
    ],
    [
      'with scaling that is not computed',
      'llama',
      key('llama.rope.scaling.type', text('longrope')),
      'INVALID_CHECKPOINT',
      /scaling.type is "longrope".*supported: none, linear, yarn/,
    ],
    [
      'with an attention that sees what comes',
      'llama',
      key('llama.attention.causal', flag(false)),
      'INVALID_CHECKPOINT',
      /attention.causal is false/,
    ],
    [
      'with another vocabulary size',
      'llama',
      key('llama.vocab_size', u32(500)),
      'INVALID_CHECKPOINT',
      /vocab_size is 500, expected 512, the rows of token_embd/,
    ],
    [
      'with experts scored otherwise',
      'qwen3_moe',
      key('qwen3moe.expert_gating_func', u32(2)),
      'INVALID_CHECKPOINT',
      /gating_func is 2.*supported: 1/,
    ],
    [
      'with weights that are not normalised',
      'qwen3_moe',
      key('qwen3moe.expert_weights_norm', flag(false)),
      'INVALID_CHECKPOINT',
      /weights_norm is false.*supported: true/,
    ],
    [
      'with more experts chosen than there are',
      'qwen3_moe',
      key('qwen3moe.expert_used_count', u32(9)),
      'INVALID_CHECKPOINT',
      /metadata of model.gguf, read as a config.json: .*9.*at most the 8 experts/,
    ],
    [
      'with other experts than it says',
      'qwen3_moe',
      key('qwen3moe.expert_count', u32(7)),
      'TENSOR_SHAPE',
      /ffn_gate_inp.weight has shape \[8, 64\], the metadata of model.gguf asks for \[7, 64\]/,
    ],
    [
      'with heads that rotate more than they are',
      'deepseek_v2_lite',
      key('deepseek2.rope.dimension_count', u32(24)),
      'INVALID_CHECKPOINT',
      /dimension_count is 24.*less than the 24 of a key/,
    ],
    [
      'with a window pattern of another kind',
      'gpt_oss',
      key('gpt-oss.attention.sliding_window_pattern', u32(4)),
      'INVALID_CHECKPOINT',
      /sliding_window_pattern is 4.*supported: 2/,
    ],
    ['without a tensor', 'llama', without('blk.1.ffn_up.weight'), 'MISSING_TENSOR', /no tensor blk.1.ffn_up.weight/],
    [
      'without experts',
      'qwen3_moe',
      without('blk.2.ffn_down_exps.weight'),
      'MISSING_TENSOR',
      /no tensor blk.2.ffn_down_exps.weight/,
    ],
    [
      'with one half of a latent',
      'deepseek_v2_lite',
      without('blk.0.attn_v_b.weight'),
      'MISSING_TENSOR',
      /no tensor blk.0.attn_kv_b.weight/,
    ],
    [
      'with a tensor of another shape',
      'llama',
      replaced('output_norm.weight', () => zeros('output_norm.weight', [32])),
      'TENSOR_SHAPE',
      /output_norm.weight has shape \[32\], the metadata of model.gguf asks for \[64\]/,
    ],
    [
      'with a tensor that the model does not have',
      'llama',
      added(zeros('blk.0.attn_q_norm.weight', [8])),
      'INVALID_CHECKPOINT',
      /attn_q_norm.weight is no part of a llama model as the metadata of model.gguf/,
    ],
    [
      'with scales beside its weights',
      'llama',
      added(zeros('blk.0.attn_q.scale', [1])),
      'INVALID_CHECKPOINT',
      /attn_q.scale is no part/,
    ],
    [
      'with a type that is not read',
      'llama',
      replaced('output.weight', (tensor) => ({ ...tensor, type: 25 })),
      'INVALID_CHECKPOINT',
      /output.weight is stored as I16; supported: BF16, F16, F32, Q4_0/,
    ],
    [
      'with factors for other heads',
      'llama',
      replaced('rope_freqs.weight', () => zeros('rope_freqs.weight', [8])),
      'INVALID_CHECKPOINT',
      /rope_freqs.weight is F32 \[8\], expected F32 \[4\]/,
    ],
    [
      'with factors of 0',
      'llama',
      replaced('rope_freqs.weight', () => zeros('rope_freqs.weight', [4])),
      'INVALID_CHECKPOINT',
      /rope_freqs.weight holds 0/,
    ],
    [
      'with factors and scaling',
      'llama',
      withKeys({ 'llama.rope.scaling.type': text('linear'), 'llama.rope.scaling.factor': f32(2) }),
      'INVALID_CHECKPOINT',
      /rope_freqs.weight comes with scaling of kind linear/,
    ],
    [
      'with a weight that is no number',
      'llama',
      replaced('output_norm.weight', (tensor) => ({ ...tensor, bytes: new Uint8Array(256).fill(0xff) })),
      'INVALID_CHECKPOINT',
      /model.norm.weight holds NaN/,
    ],
    ['without a vocabulary', 'llama', key('tokenizer.ggml.model', undefined), 'MISSING_TOKENIZER', /has no vocabulary/],
    [
      'cut in an unknown way',
      'llama',
      key('tokenizer.ggml.pre', text('gigatext')),
      'INVALID_CHECKPOINT',
      /tokenizer.ggml.pre is "gigatext"/,
    ],
  ];

  it.each(wrong)('%s', async (_, golden, change, code, message) => {
    await convert(golden, at('model.gguf'), change);
    await rejected(at('model.gguf'), code, message);
  });

  it('that is not there', () => rejected(at('none.gguf'), 'NOT_A_CHECKPOINT', /has no none.gguf/));

  it('that is no GGUF file', async () => {
    await writeFile(at('model.gguf'), '{"model_type": "llama"}');
    await rejected(at('model.gguf'), 'NOT_A_CHECKPOINT', /model.gguf is no GGUF file/);
  });

  it('among others of its folder', async () => {
    for (const name of ['a-Q4_0', 'b-00001-of-00002', 'b-00002-of-00002']) await writeFile(at(`${name}.gguf`), '');
    await rejected(folder.path, 'NOT_A_CHECKPOINT', /holds 2 GGUF models: a-Q4_0.gguf, b-00001-of-00002.gguf/);
  });

  it('that becomes shorter while it is read', async () => {
    await convert('llama', at('model.gguf'), (contents) => contents);
    const onProgress = ({ doneBytes }: { doneBytes: number }): void => {
      if (doneBytes > 300_000) truncateSync(at('model.gguf'), 30_000);
    };
    const work = slice({ ...once, model: at('model.gguf'), out: at('package'), onProgress });
    await expect(work).rejects.toMatchObject({
      code: 'TRUNCATED_FILE',
      message: expect.stringMatching(/became shorter/),
    });
  });
});

describe('a GGUF file in parts', () => {
  let contents: GgufContents;
  beforeEach(async () => {
    await convert('llama', at('whole.gguf'), (whole) => {
      contents = whole;
      return whole;
    });
  });
  const part = (number: number): string => at(partName(number, 3));
  const split = (whole: GgufContents, lies?: Readonly<Record<string, GgufValue>>): Promise<void> =>
    writeGgufParts(folder.path, whole, 3, lies);

  it.each([1, 2, 3])('is one model, whichever is named: part %i', async (number) => {
    await split(contents);
    const whole = await sliced(at('whole.gguf'));
    expect(await sliced(part(number))).toEqual(whole);
    await rm(at('whole.gguf'));
    expect(await sliced(folder.path)).toEqual(whole);
    const manifest = await slice({ ...once, model: part(number), out: at('package') });
    expect(manifest.name).toBe('model');
    expect(manifest.provenance.inputs.map((file) => file.path)).toEqual([1, 2, 3].map((n) => path.basename(part(n))));
  });

  const refused = (code: string, message: RegExp) =>
    expect(openCheckpoint(part(1))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });

  it('is refused when a part is missing', async () => {
    await split(contents);
    await rm(part(3));
    await refused('NOT_A_CHECKPOINT', /no model-00003-of-00003.gguf/);
  });

  it('is refused when a part is another', async () => {
    await split(contents);
    await copyFile(part(2), part(3));
    await refused('INVALID_CHECKPOINT', /is in a part before as well/);
  });

  it.each([
    [{ 'split.no': u16(2) }, /part 2 from 0, its name that it is 1/],
    [{ 'split.count': u16(4) }, /one of 4 parts, of which 3 are here/],
  ])('is refused when a part says %j', async (lies, message) => {
    await split(contents, lies);
    await refused('INVALID_CHECKPOINT', message);
  });

  it('is refused when tensors are missing', async () => {
    await split({ ...contents, tensors: contents.tensors.slice(0, -1) });
    await writeGguf(part(1), {
      metadata: [
        ...contents.metadata,
        ['split.no', u16(0)],
        ['split.count', u16(3)],
        ['split.tensors.count', i32(contents.tensors.length)],
      ],
      tensors: contents.tensors.filter((_, i) => i % 3 === 0 && i < contents.tensors.length - 1),
    });
    await refused('INVALID_CHECKPOINT', /its parts hold \d+ tensors, they hold \d+/);
  });

  it('is refused when it is one part under another name', async () => {
    await split(contents);
    await copyFile(part(1), at('lone.gguf'));
    await expect(openCheckpoint(at('lone.gguf'))).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/one of 3 parts, of which 1 are here/),
    });
  });
});

describe('a GGUF file', () => {
  it('may stand in a folder with the config of its model', async () => {
    await using golden = await goldenCheckpoint('qwen2');
    await convertCheckpoint(golden.checkpoint, at('model.gguf'), 'BF16');
    await copyFile(path.join(golden.checkpoint, 'config.json'), at('config.json'));
    expect(await sliced(folder.path)).toEqual(await sliced(golden.checkpoint));
    expect(await inspect(folder.path)).toMatchObject({
      kind: 'checkpoint',
      name: 'model',
      storedTypes: ['BF16', 'F32'],
    });
  });

  it('counts less than safetensors beside it', async () => {
    await using golden = await goldenCheckpoint('qwen2');
    await writeFile(path.join(golden.checkpoint, 'other.gguf'), 'no model');
    await using checkpoint = await openCheckpoint(golden.checkpoint);
    expect(checkpoint.files).toEqual(['config.json', 'model.safetensors']);
  });

  it('gives a package its tokenizer, its end tokens and where it comes from', async () => {
    const licence = { 'general.license': text('apache-2.0'), 'tokenizer.chat_template': text('{{ messages }}') };
    await convert('llama', at('Tiny-BF16.gguf'), withKeys(licence));
    const manifest = await slice({ ...once, model: at('Tiny-BF16.gguf'), out: at('package') });
    expect(manifest).toMatchObject({ name: 'Tiny-BF16', endTokens: [2], provenance: { licence: 'apache-2.0' } });
    expect(manifest.provenance.inputs.map((file) => file.path)).toEqual(['Tiny-BF16.gguf']);
    const names = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'];
    expect(manifest.files.map((file) => file.path)).toEqual(expect.arrayContaining(names));
    const digests = await digestsOf(at('package'));
    for (const file of manifest.files) expect(digests[file.path]).toBe(file.sha256);
    const tokenizer = await loadTokenizer(at('package'));
    expect(tokenizer.decode(tokenizer.encode('größer'))).toBe('größer');
  });

  it('may have experts as old files do, gate and up in one, and layers that predict further tokens', async () => {
    await convert('qwen3_moe', at('new.gguf'), (contents) => contents);
    const original = await sliced(at('new.gguf'));
    await convert(
      'qwen3_moe',
      at('old.gguf'),
      withTensors((tensors) => tensors.flatMap(unstacked)),
    );
    expect(await sliced(at('old.gguf'))).toEqual(original);
    await convert('qwen3_moe', at('both.gguf'), withTensors(withGateAndUp));
    expect(await sliced(at('both.gguf'))).toEqual(original);
    const further = added(zeros('blk.3.nextn.eh_proj.weight', [64, 128]));
    const counted = withKeys({ 'qwen3moe.block_count': u32(4), 'qwen3moe.nextn_predict_layers': u32(1) });
    await convert('qwen3_moe', at('further.gguf'), (contents) => counted(further(contents)));
    expect(await sliced(at('further.gguf'))).toEqual(original);
  });

  it('has no more layers than it says', async () => {
    await convert('qwen3_moe', at('model.gguf'), withKeys({ 'qwen3moe.block_count': u32(2) }));
    await expect(sliced(at('model.gguf'))).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/^tensor blk.2[.].* is no part of a qwen3_moe model/),
    });
  });

  it('may say which layers of gpt-oss have windows', async () => {
    const pattern = { 'gpt-oss.attention.sliding_window_pattern': flags([false, true]) };
    await convert('gpt_oss', at('model.gguf'), withKeys(pattern));
    await using checkpoint = await openCheckpoint(at('model.gguf'));
    expect(checkpoint.spec.layers.map(({ attention }) => 'window' in attention && attention.window)).toEqual([null, 8]);
  });

  it('may scale angles linearly, or by YaRN with a factor of its own', async () => {
    const scalingOf = async (keys: Readonly<Record<string, GgufValue>>) => {
      await convert('qwen2', at('model.gguf'), withKeys(keys));
      await using checkpoint = await openCheckpoint(at('model.gguf'));
      return checkpoint.spec.rotary.scaling;
    };
    const prefix = 'qwen2.rope.scaling';
    expect(await scalingOf({ [`${prefix}.type`]: text('none'), [`${prefix}.factor`]: f32(4) })).toEqual({
      kind: 'none',
    });
    expect(await scalingOf({ [`${prefix}.factor`]: f32(4) })).toEqual({ kind: 'linear', factor: 4 });
    expect(await scalingOf({ 'qwen2.rope.scale_linear': f32(2.5) })).toEqual({ kind: 'linear', factor: 2.5 });
    const yarn = { [`${prefix}.type`]: text('yarn'), [`${prefix}.factor`]: f32(4) };
    const context = { [`${prefix}.original_context_length`]: u32(64) };
    expect(await scalingOf({ ...yarn, ...context, [`${prefix}.yarn_attn_factor`]: f32(1.5) })).toEqual({
      kind: 'yarn',
      factor: 4,
      betaFast: 32,
      betaSlow: 1,
      originalContext: 64,
      truncate: true,
      attentionFactor: 1.5,
    });
  });

  it('tells by its tensors how DeepSeek scores experts when no key does', async () => {
    const scoreOf = async (golden: string) => {
      await convert(golden, at('model.gguf'), withKeys({ 'deepseek2.expert_gating_func': undefined }));
      await using checkpoint = await openCheckpoint(at('model.gguf'));
      return checkpoint.spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp.routing.score] : []));
    };
    expect(await scoreOf('deepseek_v2_lite')).toEqual(['softmax']);
    expect(await scoreOf('deepseek_v3')).toEqual(['sigmoid', 'sigmoid']);
  });
});

/** One tensor for each expert. */
function unstacked(tensor: GgufTensor): readonly GgufTensor[] {
  const [, prefix, matrix] = /^(blk[.]\d+[.]ffn_)(gate|up|down)_exps[.]weight$/.exec(tensor.name) ?? [];
  if (prefix === undefined) return [tensor];
  const [experts = 1, ...shape] = tensor.shape;
  const size = tensor.bytes.length / experts;
  return Array.from({ length: experts }, (_, expert) => ({
    ...tensor,
    name: `${prefix}${matrix}.${expert}.weight`,
    shape,
    bytes: tensor.bytes.subarray(expert * size, (expert + 1) * size),
  }));
}

/** Of each expert the rows of gate, then those of up. */
function withGateAndUp(tensors: readonly GgufTensor[]): readonly GgufTensor[] {
  return tensors.flatMap((tensor) => {
    if (tensor.name.endsWith('ffn_up_exps.weight')) return [];
    if (!tensor.name.endsWith('ffn_gate_exps.weight')) return [tensor];
    const up = tensors.find(({ name }) => name === tensor.name.replace('gate', 'up'))!;
    const [experts = 1, rows = 1, width = 1] = tensor.shape;
    const size = up.bytes.length / experts;
    const of = ({ bytes }: GgufTensor, expert: number) => bytes.subarray(expert * size, (expert + 1) * size);
    const bytes = Array.from({ length: experts }, (_, expert) => [of(tensor, expert), of(up, expert)]);
    return [
      {
        ...tensor,
        name: tensor.name.replace('gate', 'gate_up'),
        shape: [experts, 2 * rows, width],
        bytes: Buffer.concat(bytes.flat()),
      },
    ];
  });
}
