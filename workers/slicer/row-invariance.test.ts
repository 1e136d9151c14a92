/**
 * A row of a piece's output has the same bits whatever rows are beside it. Everything that makes a resumed or re-batched
 * stream identical stands on this.
 */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelProto, type ValueInfoProto } from '#proto/onnx.ts';
import { type PieceInput, RankPieces, rowsOf } from '../../test/fixtures/package-pieces.ts';
import { repackedCheckpoint, type Storage } from '../../test/fixtures/repacked-checkpoint.ts';
import { goldenCheckpoint, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import type { WeightFormat } from '../models/manifest.ts';
import { type Piece, pieceName, piecesOf } from '../models/pieces.ts';
import { shardOf } from '../models/shard.ts';
import { slice } from './slice.ts';

const mostRows = 64;
const rowCounts = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63];

type Widths = Readonly<Record<string, number>>;

/** Widths of the inputs and outputs that have a row for each of the step's; ids and positions are apart. */
function signatureOf(name: string, rank: RankPieces): { readonly inputs: Widths; readonly outputs: Widths } {
  const graph = ModelProto.decode(rank.graph(name)).graph!;
  const widths = (values: readonly ValueInfoProto[]): Widths =>
    Object.fromEntries(
      values
        .map(({ name, type }) => [name, type!.tensorType!.shape!.dim] as const)
        .filter(([, dims]) => dims.length === 2 && (dims[0]!.dimParam ?? '') !== '')
        .map(([name, dims]) => [name, Number(dims[1]!.dimValue)]),
    );
  return { inputs: widths(graph.input), outputs: widths(graph.output) };
}

/** Numbers of very different sizes, as residual streams have them. */
function fill(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed) * 2 ** ((i * 7 + seed) % 9));
}

class PieceRows {
  readonly #piece: Piece;
  readonly #rank: RankPieces;
  readonly #outputs: Widths;
  readonly #rotates: boolean;
  readonly #inputs: Readonly<Record<string, { data: Float32Array; width: number }>>;

  constructor(piece: Piece, rank: RankPieces) {
    const { inputs, outputs } = signatureOf(pieceName(piece), rank);
    this.#piece = piece;
    this.#rank = rank;
    this.#outputs = outputs;
    this.#rotates = 'cos' in inputs;
    this.#inputs = Object.fromEntries(
      Object.entries(inputs).map(([name, width], seed) => [name, { data: fill(mostRows * width, seed), width }]),
    );
  }

  /** Outputs for the given range of the rows, flattened by row. */
  run(first: number, count: number): readonly Float32Array[] {
    const inputs: Record<string, PieceInput> = Object.fromEntries(
      Object.entries(this.#inputs).map(([name, { data, width }]) => [
        name,
        rowsOf(data.subarray(first * width, (first + count) * width), width),
      ]),
    );
    const index = BigInt64Array.from({ length: count }, (_, i) => BigInt(i));
    if (this.#piece.kind === 'embed') inputs.ids = { data: index.map((i) => i + BigInt(first)), dims: [count] };
    if (this.#rotates) inputs.positions = { data: index, dims: [1, count] };
    return Object.values(this.#rank.run(pieceName(this.#piece), count, inputs, this.#outputs));
  }

  /** Row counts at which some output differs from the same rows among all of them. */
  departures(): readonly number[] {
    const all = this.run(0, mostRows);
    const differs = (first: number, count: number): boolean =>
      this.run(first, count).some((part, i) => {
        const width = all[i]!.length / mostRows;
        const bytes = (data: Float32Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        return !bytes(part).equals(bytes(all[i]!.subarray(first * width, (first + count) * width)));
      });
    return rowCounts.filter(
      (count) => differs(0, count) || differs(mostRows - count, count) || differs(11, Math.min(count, 50)),
    );
  }
}

const models = ['llama', 'qwen3_moe', 'smollm2', 'deepseek_v32', 'qwen3_next', 'gpt_oss', 'minimax_m2', 'ernie4_5_moe'];
const folders = new Map<string, Awaited<ReturnType<typeof goldenCheckpoint>>>();

beforeAll(async () => {
  for (const name of models) folders.set(name, await goldenCheckpoint(name));
});

afterAll(async () => {
  for (const folder of folders.values()) await folder[Symbol.asyncDispose]();
});

describe('a row of a piece', () => {
  const formats: readonly WeightFormat[] = ['fp32', 'int4', 'int8'];
  const cuts = models.flatMap((name) =>
    formats.flatMap((weights) => [1, name === 'smollm2' ? 3 : 2].map((ranks) => [name, weights, ranks] as const)),
  );

  it.each(cuts)('has the same bits alone and among 64: %s, %s, %i ranks', async (name, weights, ranks) => {
    expect(await departuresOf(folders.get(name)!.checkpoint, weights, ranks)).toEqual([]);
  });

  const packed: readonly (readonly [Storage, number])[] = [
    [{ method: 'compressed-tensors', group: 32 }, 1],
    [{ method: 'awq', group: 128 }, 1],
    [{ method: 'gptq', group: 16 }, 4],
    [{ method: 'gptq', group: 32, scattered: true }, 2],
  ];

  it.each(packed)('has the same bits with integers of the checkpoint: %j, %i ranks', async (storage, ranks) => {
    await using folder = await temporaryFolder();
    expect(await departuresOf(await repackedCheckpoint(folder.path, storage), 'native', ranks)).toEqual([]);
  });
});

async function departuresOf(model: string, weights: WeightFormat, ranks: number) {
  await using folder = await temporaryFolder();
  const out = path.join(folder.path, 'package');
  const manifest = await slice({ model, out, ranks, weights });
  using rank = new RankPieces(out, manifest, ranks - 1);
  return piecesOf(manifest.spec, shardOf(manifest.spec, { rank: ranks - 1, ranks }, manifest.experts))
    .filter(({ kind }) => kind !== 'delta') // Its rows follow from each other.
    .map((piece) => ({ piece: pieceName(piece), rows: new PieceRows(piece, rank).departures() }))
    .filter(({ rows }) => rows.length > 0);
}
