import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { loadTokenizer } from '../../services/tokenizer/tokenizer.ts';
import { slice } from '../../workers/slicer/slice.ts';
import { temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { benchShape, makeModel } from './make-model.ts';

const small = {
  ...benchShape,
  layers: 2,
  hidden: 64,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  experts: 4,
  chosen: 2,
  expertWidth: 32,
  vocabulary: 300,
};

it('makes the same checkpoint again, one that can be sliced and whose tokenizer reads and writes text', async () => {
  await using folder = await temporaryFolder();
  const [first, second] = ['first', 'second'].map((name) => path.join(folder.path, name)) as [string, string];
  await makeModel(first, small);
  await makeModel(second, small);
  const weights = (of: string) => readFile(path.join(of, 'model.safetensors'));
  expect((await weights(first)).equals(await weights(second))).toBe(true);
  const out = path.join(folder.path, 'package');
  expect((await slice({ model: first, out, ranks: 2, weights: 'int4' })).shards).toHaveLength(2);
  const tokenizer = await loadTokenizer(out);
  const text = 'Tri\u00eareme \u{1f6f6}\n 17 + 25';
  expect(tokenizer.decode(tokenizer.encode(text), { continues: true })).toBe(text);
  expect(tokenizer.decode([299], { continues: true })).toBe(' t299');
});

it('gives no two experts the same weights', async () => {
  await using folder = await temporaryFolder();
  await makeModel(folder.path, small);
  const bytes = await readFile(path.join(folder.path, 'model.safetensors'));
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(bytes.toString('utf8', 8, start));
  const gates = Object.entries(header)
    .filter(([name]) => name.endsWith('gate_proj.weight'))
    .map(
      ([
        ,
        {
          data_offsets: [begin, end],
        },
      ]) => bytes.toString('base64', start + begin, start + end),
    );
  expect(gates).toHaveLength(8);
  expect(new Set(gates).size).toBe(8);
});
