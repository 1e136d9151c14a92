/** What a checkpoint may be instead of whole, and how slicing says so. */
import { truncateSync } from 'node:fs';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changeConfig, changeTensors, goldenCheckpoint, splitInTwo } from '../../test/fixtures/tiny-checkpoint.ts';
import { type SliceOptions, slice } from './slice.ts';

let folder: Awaited<ReturnType<typeof goldenCheckpoint>>;
let model: string;
let out: string;

beforeEach(async () => {
  folder = await goldenCheckpoint('qwen3_moe');
  model = folder.checkpoint;
  out = path.join(folder.path, 'package');
});

afterEach(() => folder[Symbol.asyncDispose]());

function run(options: Partial<SliceOptions> = {}) {
  return slice({ model, out, ranks: 2, weights: 'int4', ...options });
}

/** Nothing but the checkpoint is left beside the place of the package. */
async function expectNothingLeft(): Promise<void> {
  expect(await readdir(folder.path)).toEqual(['checkpoint']);
}

describe('slicing refuses', () => {
  const rejected = async (code: string, message: RegExp, options: Partial<SliceOptions> = {}): Promise<void> => {
    await expect(run(options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await expectNothingLeft();
  };
  const weightsFile = () => path.join(model, 'model.safetensors');
  const without = (name: string) => changeTensors(model, (tensors) => tensors.filter((tensor) => tensor.name !== name));

  it('a folder that is not there', () => rejected('NOT_A_CHECKPOINT', /no config.json/, { model: '/nowhere/at/all' }));

  it('no config.json', async () => {
    await rm(path.join(model, 'config.json'));
    await rejected('NOT_A_CHECKPOINT', /no config.json/);
  });

  it.each([
    ['half a document', Buffer.from('{"model_type": ')],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ])('a config.json that is %s', async (_, bytes) => {
    await writeFile(path.join(model, 'config.json'), bytes);
    await rejected('INVALID_CHECKPOINT', /config.json is malformed/);
  });

  it('a family that is not known', async () => {
    await changeConfig(model, { model_type: 'rwkv' });
    await rejected('UNKNOWN_FAMILY', /"rwkv".*known: llama, .*qwen3_moe/);
  });

  it('no weights', async () => {
    await rm(weightsFile());
    await rejected('NOT_A_CHECKPOINT', /no model.safetensors/);
  });

  it('no tokenizer', async () => {
    await rm(path.join(model, 'tokenizer.json'));
    await rejected('MISSING_TOKENIZER', /no tokenizer.json/);
  });

  it.each([0, 5, 100, 5000, 300_000])('weights cut off after %i bytes', async (bytes) => {
    await truncate(weightsFile(), bytes);
    await rejected('TRUNCATED_FILE', /model.safetensors ends early/);
  });

  it('weights that become shorter while they are read', async () => {
    await rejected('TRUNCATED_FILE', /became shorter/, {
      onProgress: ({ doneBytes }) => {
        if (doneBytes > 400_000) truncateSync(weightsFile(), 20_000);
      },
    });
  });

  it('a missing tensor', async () => {
    await without('model.layers.1.mlp.up_proj.weight');
    await rejected('MISSING_TENSOR', /model.layers.1.mlp.up_proj.weight/);
  });

  it('a missing expert', async () => {
    await without('model.layers.2.mlp.experts.7.down_proj.weight');
    await rejected('MISSING_TENSOR', /model.layers.2.mlp.experts.7.down_proj.weight/);
  });

  it('a tensor of another shape', async () => {
    await changeConfig(model, { moe_intermediate_size: 32 });
    await rejected('TENSOR_SHAPE', /experts.0.gate_proj.weight has shape \[24, 64\], config.json asks for \[32, 64\]/);
  });

  it('a tensor of another number of dimensions', async () => {
    await changeTensors(model, (tensors) =>
      tensors.map((tensor) => (tensor.name === 'model.norm.weight' ? { ...tensor, shape: [1, 64] } : tensor)),
    );
    await rejected('TENSOR_SHAPE', /model.norm.weight has shape \[1, 64\]/);
  });

  it('a tensor of a type that is not read', async () => {
    await changeTensors(model, (tensors) =>
      tensors.map((tensor) => (tensor.name === 'lm_head.weight' ? { ...tensor, dtype: 'I16' } : tensor)),
    );
    await rejected('INVALID_CHECKPOINT', /lm_head.weight is stored as I16; supported: BF16, F16, F32/);
  });

  it('tensors that the model does not have', async () => {
    const lone = { name: 'model.layers.0.self_attn.sinks', dtype: 'F32', shape: [1], bytes: new Uint8Array(4) };
    await changeTensors(model, (tensors) => [...tensors, lone]);
    await rejected('INVALID_CHECKPOINT', /self_attn.sinks is no part of a qwen3_moe model/);
  });

  it('more layers than config.json says', async () => {
    await changeConfig(model, { num_hidden_layers: 2 });
    await rejected(
      'INVALID_CHECKPOINT',
      /model.layers.2[.].* is no part of a qwen3_moe model as config.json describes it/,
    );
  });

  it('but not the extra layers of multi-token prediction', async () => {
    const extra = { name: 'model.layers.3.eh_proj.weight', dtype: 'I8', shape: [1], bytes: new Uint8Array(1) };
    await changeTensors(model, (tensors) => [...tensors, extra]);
    expect((await run()).shards).toHaveLength(2);
  });

  it('a header that lies about offsets', async () => {
    const bytes = await readFile(weightsFile());
    const text = bytes.toString('latin1');
    const place = text.indexOf('"data_offsets":[0,') + '"data_offsets":[0,'.length;
    bytes[place] = bytes[place]! === 0x39 ? 0x38 : bytes[place]! + 1;
    await writeFile(weightsFile(), bytes);
    await rejected('INVALID_CHECKPOINT', /takes|overlaps|gap/);
  });

  it('an index whose file is not there', async () => {
    await splitInTwo(model);
    await rm(path.join(model, 'part-2.safetensors'));
    await rejected('NOT_A_CHECKPOINT', /no part-2.safetensors/);
  });

  it('an index that names a tensor its file does not hold', async () => {
    await splitInTwo(model);
    const file = path.join(model, 'model.safetensors.index.json');
    const index = JSON.parse(await readFile(file, 'utf8'));
    index.weight_map['lm_head.weight'] = index.weight_map['lm_head.weight'].replace(/\d/, (n: string) =>
      String(3 - Number(n)),
    );
    await writeFile(file, JSON.stringify(index));
    await rejected('MISSING_TENSOR', /lm_head.weight/);
  });

  it.each([{}, { weight_map: {} }, { weight_map: { a: '../elsewhere' } }, null])('the index %j', async (index) => {
    await writeFile(path.join(model, 'model.safetensors.index.json'), JSON.stringify(index));
    await rejected('INVALID_CHECKPOINT', /weight_map/);
  });

  it.each([3, 5, 16, 0])('%i ranks', (ranks) =>
    rejected('ILLEGAL_RANK_COUNT', /; legal rank counts: 1, 2, 4, 8$/, { ranks }),
  );

  it('end tokens that are none', async () => {
    await writeFile(path.join(model, 'generation_config.json'), '{"eos_token_id": "</s>"}');
    await rejected('INVALID_CHECKPOINT', /eos_token_id is "<\/s>"/);
  });
});
