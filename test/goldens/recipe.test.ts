import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildCheckpoint, readGolden } from './build-checkpoint.ts';
import { drawTensor, fnv1a, keyOf, normal, toBfloat16, uniform, word } from './recipe.ts';

const vectors = [
  {
    seed: 1,
    name: 'model.embed_tokens.weight',
    hash: 0x403ade76,
    key: 0x3a99eeb2,
    words: [0x39130a0f, 0x5a57eb3a, 0x30fba44b, 0x34e14ea7, 0xbb4df9df],
    normals: [-1.7775111371070365, -0.6305979522714198, 0.2076132125279569],
    uniforms: [0.22294676664751023, 0.7316585703520104],
  },
  {
    seed: 4294967295,
    name: 'é',
    hash: 0x1e9de8c1,
    key: 0xe0ba770a,
    words: [0xcf217527, 0xe109edcf, 0x4f885ded, 0xfde1d503, 0x31dc5d8a],
    normals: [1.7157067339198748, -1.1869491908044294, -0.6122656046549463],
    uniforms: [0.8091042729793116, 0.19476875907275826],
  },
];

describe('the recipe', () => {
  it.each(vectors)('draws the published numbers for seed $seed and "$name"', ({ seed, name, ...expected }) => {
    expect(fnv1a(name)).toBe(expected.hash);
    const key = keyOf(seed, name);
    expect(key).toBe(expected.key);
    expect(expected.words.map((_, n) => word(key, n))).toEqual(expected.words);
    expect(expected.normals.map((_, i) => normal(key, i))).toEqual(expected.normals);
    expect(expected.uniforms.map((_, i) => uniform(key, i))).toEqual(expected.uniforms);
  });

  it('rounds to bfloat16 to nearest, ties to even', () => {
    const words = Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff);
    expect([...toBfloat16(new Float32Array(words.buffer))]).toEqual([0x3f80, 0x3f82, 0x3f81, 0x3f80]);
  });

  it('draws a queries matrix as the golden files have it', () => {
    const config = { modelType: 'llama', tied: false, latentRank: 0 };
    const values = drawTensor(1, 'model.layers.0.self_attn.q_proj.weight', [64, 64], config);
    expect([...toBfloat16(values.slice(0, 4))]).toEqual([0xbc2b, 0xbe18, 0xbefa, 0xbd4f]);
  });
});

describe('rebuilding a checkpoint', () => {
  it('names the tensors that are not what the golden file says', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'trireme-golden-'));
    try {
      const golden = await readGolden(path.join(import.meta.dirname, 'llama.json'));
      expect(await buildCheckpoint(golden, folder)).toEqual([]);
      expect(await buildCheckpoint({ ...golden, seed: 2 }, folder)).toEqual(Object.keys(golden.tensors));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('refuses a golden file without a recipe', async () => {
    await expect(readGolden(path.join(import.meta.dirname, 'demo.json'))).rejects.toThrow('has no recipe');
  });
});
