import { afterAll, expect, test } from 'vitest';
import { OrtRuntime } from '../runtime/ort-runtime.ts';
import { Attention, type AttentionShape, RowTensors } from './attention.ts';
import { type ChunkRows, KvCache } from './kv-cache.ts';

const runtime = new OrtRuntime();
afterAll(() => runtime.close());

function randoms(seed: number, length: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

/** One layer of attention over a sequence, its rows given in chunks of these sizes, in a cache that other slots share. */
function contextOf(shape: AttentionShape, sizes: readonly number[], slot: number): Float32Array {
  const positions = sizes.reduce((sum, size) => sum + size, 0);
  const { heads, kvHeads, headDim } = shape;
  const qWidth = heads * headDim;
  const kvWidth = kvHeads * headDim;
  const q = randoms(1, positions * qWidth);
  const k = randoms(2, positions * kvWidth);
  const v = randoms(3, positions * kvWidth);
  const blocks = 4 * Math.ceil(positions / 16);
  const cache = new KvCache(runtime, { layers: 1, kvHeads, headDim, blocks, slots: 3 });
  for (let other = 0; other < slot; other++) cache.reserve(other, 40);
  const attention = new Attention(runtime, shape, cache);
  const context = new Float32Array(positions * qWidth);
  let firstPosition = 0;
  for (const rows of sizes) {
    const from = firstPosition * qWidth;
    const dims = [kvHeads, heads / kvHeads, headDim];
    // Native code reads these: larger than what V8 may keep in its heap.
    const rowsOfStep = new Float32Array(Math.max(64, rows * qWidth));
    rowsOfStep.set(q.subarray(from, from + rows * qWidth));
    const queries = new RowTensors(runtime, rowsOfStep, dims);
    const result = new Float32Array(Math.max(64, rows * qWidth));
    const chunk: ChunkRows = { slot, firstPosition, firstRow: 0, rows };
    cache.reserve(slot, firstPosition + rows);
    attention.beginStep();
    const kvFrom = firstPosition * kvWidth;
    cache.append(0, chunk, k.subarray(kvFrom, kvFrom + rows * kvWidth), v.subarray(kvFrom, kvFrom + rows * kvWidth));
    attention.run(0, chunk, queries, new RowTensors(runtime, result, dims));
    context.set(result.subarray(0, rows * qWidth), from);
    firstPosition += rows;
  }
  return context;
}

/** The definition, in double precision. */
function naiveContext(shape: AttentionShape, positions: number): Float64Array {
  const { heads, kvHeads, headDim, scale } = shape;
  const [q, k, v] = [heads, kvHeads, kvHeads].map((count, i) => randoms(i + 1, positions * count * headDim));
  const context = new Float64Array(positions * heads * headDim);
  for (let row = 0; row < positions; row++) {
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor((head * kvHeads) / heads);
      const qAt = (row * heads + head) * headDim;
      const weights = Array.from({ length: row + 1 }, (_, p) => {
        let score = 0;
        for (let d = 0; d < headDim; d++) score += q![qAt + d]! * k![(p * kvHeads + kvHead) * headDim + d]!;
        return Math.exp(score * scale);
      });
      const sum = weights.reduce((total, weight) => total + weight, 0);
      for (const [p, weight] of weights.entries()) {
        const vAt = (p * kvHeads + kvHead) * headDim;
        for (let d = 0; d < headDim; d++) context[qAt + d]! += (weight / sum) * v![vAt + d]!;
      }
    }
  }
  return context;
}

const shapes = [
  [1, 1, 32],
  [2, 1, 16],
  [2, 2, 32],
  [3, 3, 8],
  [4, 2, 32],
  [6, 3, 16],
  [8, 1, 64],
  [16, 4, 64],
] as const;

for (const [heads, kvHeads, headDim] of shapes) {
  const shape = { heads, kvHeads, headDim, scale: headDim ** -0.5, contextLength: 400 };
  const name = `${heads}/${kvHeads} heads of ${headDim}`;

  test(`${name}: attention is what the definition says`, () => {
    const context = contextOf(shape, [70, 1, 19], 0);
    const expected = naiveContext(shape, 90);
    const largest = context.reduce((error, value, i) => Math.max(error, Math.abs(value - expected[i]!)), 0);
    expect(largest).toBeLessThan(2e-6);
  });

  test(`${name}: a position has the same bits alone, in any chunk, in any slot`, () => {
    const whole = contextOf(shape, [300], 0);
    const ways = [Array.from({ length: 300 }, () => 1), [1, 299], [64, 64, 64, 64, 44], [63, 2, 65, 17, 130, 1, 22]];
    for (const sizes of ways) {
      expect(Buffer.compare(Buffer.from(contextOf(shape, sizes, 2).buffer), Buffer.from(whole.buffer))).toBe(0);
    }
  });
}
