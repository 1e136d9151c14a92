import { afterAll, expect, test } from 'vitest';
import { OrtRuntime } from '../../runtime/ort-runtime.ts';
import { AttentionCore, type AttentionShape, type Sinks } from './attention-core.ts';
import { type ChunkRows, KvCache } from './kv-cache.ts';
import { CausalMasks } from './masks.ts';
import { RowTensors } from './row-tensors.ts';

const runtime = new OrtRuntime();
afterAll(() => runtime.close());

function randoms(seed: number, length: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

const contextLength = 400;

/** Of each head; native code reads it, so it is larger than what V8 may keep in its heap. */
function sinkLogits(heads: number): Float32Array {
  const logits = new Float32Array(Math.max(64, heads));
  logits.set(randoms(4, heads));
  return logits.subarray(0, heads);
}

/** One layer of attention over a sequence, its rows given in chunks of these sizes, in a cache that other slots share. */
function contextOf(shape: AttentionShape, window: number | null, sizes: readonly number[], slot: number): Float32Array {
  const positions = sizes.reduce((sum, size) => sum + size, 0);
  const { heads, kvHeads, headDim } = shape;
  const qWidth = heads * headDim;
  const kvWidth = kvHeads * headDim;
  const q = randoms(1, positions * qWidth);
  const k = randoms(2, positions * kvWidth);
  const v = randoms(3, positions * kvWidth);
  const blocks = 4 * Math.ceil(positions / 16);
  const arena = { heads: kvHeads, dim: headDim };
  const cache = new KvCache(runtime, { arenas: [arena, arena], blocks, slots: 3 });
  const arenas = { keys: 0, values: 1 };
  const masks = new CausalMasks(runtime, contextLength, window);
  const maskOf = (first: number, rows: number) => masks.of(first, rows);
  const logits = sinkLogits(heads);
  const sinks: Sinks = {
    one: runtime.tensor(logits, [kvHeads, heads / kvHeads, 1]),
    several: runtime.tensor(logits, [kvHeads, heads / kvHeads, 1, 1]),
  };
  for (let other = 0; other < slot; other++) cache.reserve(other, 40);
  const attention = new AttentionCore(runtime, shape, cache);
  const all = new Float32Array(positions * qWidth);
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
    masks.beginStep();
    const kvFrom = firstPosition * kvWidth;
    cache.append(0, chunk, k.subarray(kvFrom, kvFrom + rows * kvWidth));
    cache.append(1, chunk, v.subarray(kvFrom, kvFrom + rows * kvWidth));
    const context = new RowTensors(runtime, result, dims);
    attention.run(arenas, chunk, { q: queries, context, maskOf, ...(shape.sinks ? { sinks } : {}) });
    all.set(result.subarray(0, rows * qWidth), from);
    firstPosition += rows;
  }
  return all;
}

/** The definition, in double precision. */
function naiveContext(shape: AttentionShape, window: number | null, positions: number): Float64Array {
  const { heads, kvHeads, headDim, scale } = shape;
  const [q, k, v] = [heads, kvHeads, kvHeads].map((count, i) => randoms(i + 1, positions * count * headDim));
  const context = new Float64Array(positions * heads * headDim);
  for (let row = 0; row < positions; row++) {
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor((head * kvHeads) / heads);
      const qAt = (row * heads + head) * headDim;
      const weights = Array.from({ length: row + 1 }, (_, p) => {
        if (window !== null && row - p >= window) return 0;
        let score = 0;
        for (let d = 0; d < headDim; d++) score += q![qAt + d]! * k![(p * kvHeads + kvHead) * headDim + d]!;
        return Math.exp(score * scale);
      });
      const sink = shape.sinks ? Math.exp(sinkLogits(heads)[head]!) : 0;
      const sum = weights.reduce((total, weight) => total + weight, sink);
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

const kinds = [
  { window: null, sinks: false },
  { window: 20, sinks: true },
  { window: null, sinks: true },
] as const;
const cases = shapes.flatMap(([heads, kvHeads, headDim]) =>
  kinds.map(({ window, sinks }) => ({
    name: `${heads}/${kvHeads} heads of ${headDim}, window ${window}, sinks ${sinks}`,
    window,
    shape: { heads, kvHeads, headDim, scale: headDim ** -0.5, sinks },
  })),
);

test.each(cases)('$name: attention is what the definition says', ({ shape, window }) => {
  const context = contextOf(shape, window, [70, 1, 19], 0);
  const expected = naiveContext(shape, window, 90);
  const largest = context.reduce((error, value, i) => Math.max(error, Math.abs(value - expected[i]!)), 0);
  expect(largest).toBeLessThan(2e-6);
});

test.each(cases)('$name: a position has the same bits alone, in any chunk, in any slot', ({ shape, window }) => {
  const whole = contextOf(shape, window, [300], 0);
  const ways = [Array.from({ length: 300 }, () => 1), [1, 299], [64, 64, 64, 64, 44], [63, 2, 65, 17, 130, 1, 22]];
  for (const sizes of ways) {
    expect(Buffer.compare(Buffer.from(contextOf(shape, window, sizes, 2).buffer), Buffer.from(whole.buffer))).toBe(0);
  }
});
