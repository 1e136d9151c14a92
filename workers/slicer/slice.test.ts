import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changeTensors, digestsOf, goldenCheckpoint, splitInTwo } from '../../test/fixtures/tiny-checkpoint.ts';
import { parseManifest } from '../models/manifest-schema.ts';
import { rankWeightBytes } from './rank-bytes.ts';
import { type SliceOptions, slice } from './slice.ts';
import { floatModel } from './stored-model.ts';

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

describe('a package', () => {
  it('lists every file with its digest, and the inputs it was made from', async () => {
    const manifest = await run();
    const { 'manifest.json': _, ...files } = await digestsOf(out);
    expect(Object.fromEntries(manifest.files.map(({ path: file, sha256 }) => [file, sha256]))).toEqual(files);
    const inputs = Object.fromEntries(manifest.provenance.inputs.map(({ path: file, sha256 }) => [file, sha256]));
    expect(inputs).toEqual(await digestsOf(model));
    expect(parseManifest(JSON.parse(await readFile(path.join(out, 'manifest.json'), 'utf8')))).toEqual(manifest);
    expect(manifest).toMatchObject({ name: 'checkpoint', endTokens: [2], weights: 'int4' });
  });

  it('has the same bytes when it is made again', async () => {
    await run();
    const first = await digestsOf(out);
    await run();
    expect(await digestsOf(out)).toEqual(first);
  });

  it('has the same weights whether the checkpoint is one file or several', async () => {
    await run();
    const { 'manifest.json': _, ...single } = await digestsOf(out);
    await splitInTwo(model);
    await run();
    const { 'manifest.json': __, ...several } = await digestsOf(out);
    expect(several).toEqual(single);
  });

  it.each(['F16', 'F32'] as const)('reads a checkpoint stored as %s', async (dtype) => {
    const exact = (value: number): number => Math.fround(Math.round(value * 64) / 64);
    const store = (to: 'F16' | 'F32' | 'BF16') =>
      changeTensors(model, (tensors) =>
        tensors.map((tensor) => {
          const values = Float32Array.from(widened(tensor.bytes, tensor.dtype), exact);
          return { ...tensor, dtype: to, bytes: narrowed(values, to) };
        }),
      );
    await store('BF16');
    await run({ weights: 'fp32' });
    const reference = await digestsOf(out);
    await store(dtype);
    await run({ weights: 'fp32' });
    expect((await digestsOf(out))['rank-1/weights.bin']).toBe(reference['rank-1/weights.bin']);
  });

  it('has the size that is computed without making it', async () => {
    for (const weights of ['fp32', 'int8', 'int4'] as const) {
      const manifest = await run({ weights });
      for (const { rank, weightBytes, pieces } of manifest.shards) {
        const computed = rankWeightBytes(floatModel(manifest.spec), weights, { rank, ranks: 2 });
        expect(weightBytes).toBeGreaterThanOrEqual(computed);
        expect(weightBytes).toBeLessThan(computed + 64 * 10 * Object.keys(pieces).length);
      }
    }
  });

  it('reports progress up to the end', async () => {
    const reports: number[] = [];
    await run({ onProgress: ({ doneBytes, totalBytes }) => reports.push(doneBytes / totalBytes) });
    expect(reports.at(-1)).toBe(1);
    expect(reports).toEqual(reports.toSorted((a, b) => a - b));
  });

  it('replaces a package, and nothing else', async () => {
    await run({ ranks: 1 });
    await run({ ranks: 2 });
    expect((await readdir(out)).sort()).toEqual(['manifest.json', 'rank-0', 'rank-1', 'tokenizer.json']);
    await mkdir(path.join(folder.path, 'letters'));
    await writeFile(path.join(folder.path, 'letters', 'dear.txt'), 'Dear Ishmael');
    const foreign = run({ out: path.join(folder.path, 'letters') });
    await expect(foreign).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await readdir(path.join(folder.path, 'letters'))).toEqual(['dear.txt']);
  });

  it('may be made in an empty folder, and below folders that are not there yet', async () => {
    await mkdir(out);
    await run();
    await run({ out: path.join(folder.path, 'a', 'b', 'package') });
    expect(await readdir(path.join(folder.path, 'a', 'b'))).toEqual(['package']);
  });

  it('tells source and revision of a checkpoint in the cache of Hugging Face, and its licence', async () => {
    const cached = path.join(folder.path, 'models--acme--tiny', 'snapshots', 'abc123');
    await cp(model, cached, { recursive: true });
    await writeFile(path.join(cached, 'README.md'), '---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n');
    const { name, provenance } = await run({ model: cached });
    expect(name).toBe('tiny');
    expect(provenance).toMatchObject({ source: 'acme/tiny', revision: 'abc123', licence: 'apache-2.0' });
  });

  it('takes end tokens from generation_config.json first', async () => {
    await writeFile(path.join(model, 'generation_config.json'), '{"eos_token_id": [7, 9]}');
    expect((await run()).endTokens).toEqual([7, 9]);
  });
});

function widened(bytes: Uint8Array, dtype: string): Float32Array {
  const aligned = Uint8Array.from(bytes).buffer;
  if (dtype === 'F32') return new Float32Array(aligned);
  if (dtype === 'F16') return Float32Array.from(new Float16Array(aligned));
  return new Float32Array(Uint32Array.from(new Uint16Array(aligned), (half) => half << 16).buffer);
}

/** Of values that every type represents exactly. */
function narrowed(values: Float32Array, dtype: 'F16' | 'F32' | 'BF16'): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer);
  if (dtype === 'F16') return new Uint8Array(Float16Array.from(values).buffer);
  return new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16).buffer);
}
