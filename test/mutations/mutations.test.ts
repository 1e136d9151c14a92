import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { applyEdits, editsOf } from './edits.ts';
import { mutationOf } from './mutation.ts';
import { control, mutations } from './mutations.ts';
import { casesOf, MutationRun } from './run-mutations.ts';

const root = path.join(import.meta.dirname, '..', '..');

describe('mutations', () => {
  it.each(casesOf([control, ...mutations]))('%s of %s fits the code as it is', (name, golden) => {
    const { change } = mutationOf([control, ...mutations], name, golden);
    for (const [file, edits] of Object.entries(editsOf(change))) {
      const source = readFileSync(path.join(root, file), 'utf8');
      expect(applyEdits(file, source, edits)).not.toBe(source);
    }
  });

  it('say so when they do not', () => {
    const edit = { from: 'one', to: 'two' };
    expect(() => applyEdits('a.ts', 'zero', [edit])).toThrow('a.ts has 0 times, not once: one');
    expect(() => applyEdits('a.ts', 'one one', [edit])).toThrow('a.ts has 2 times, not once: one');
  });
});

/** Some of each kind; npm run mutate:families runs them all. */
const sample = [
  ['half_rope', 'deepseek_v3'],
  ['mask_zero', 'deepseek_v3'],
  ['biased_weights', 'ernie4_5_moe'],
  ['norm_after_rope', 'qwen3_moe'],
  ['partial_denominator_is_head_dim', 'glm4_moe'],
  ['flip_truncate', 'gpt_oss'],
  ['concat_gate_up', 'gpt_oss'],
  ['per_head_norm', 'minimax_m2'],
  ['no_relu', 'glm_moe_dsa'],
  ['tile_k_heads', 'qwen3_next'],
] as const;

describe('a golden', () => {
  const run = new MutationRun();
  afterAll(() => run[Symbol.asyncDispose]());

  it('agrees where a mutation changes nothing', async () => {
    expect(await run.try(control.name, 'deepseek_v3')).toMatchObject({ caught: false, continuationEqual: true });
  });

  it.each(sample)('notices %s in %s', async (mutation, golden) => {
    const { caught, error } = await run.try(mutation, golden);
    expect(caught).toBe(true);
    expect(error).toBeGreaterThan(1e-3);
  });
});
