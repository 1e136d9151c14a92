/** Streams one rank's graphs and weights into its folder, in the order and at the places of its plan. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { assert, unreachable } from '#platform/assert.ts';
import type { FileDigest } from '../models/manifest.ts';
import type { ExternalRange } from '../models/onnx-graph.ts';
import { DigestedFile } from './digest.ts';
import { IntegerReader } from './integer-reader.ts';
import { MatrixReader } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import type { Progress } from './progress.ts';
import { blocksPerRow, bytesPerBlock, quantise } from './quantise.ts';
import type { RankPlan } from './rank-plan.ts';
import { type PlannedWeight, type WeightOf, weightsFile } from './weight-layout.ts';

const graphsFile = 'graphs.bin';

export class RankWriter {
  readonly #reader: MatrixReader;
  readonly #integers: IntegerReader;
  readonly #progress: Progress;
  #packed = new Uint8Array(0);
  #scales = new Float32Array(0);

  constructor(tensors: ModelTensors, progress: Progress) {
    this.#reader = new MatrixReader(tensors);
    this.#integers = new IntegerReader(tensors);
    this.#progress = progress;
  }

  /** Errors: DISK_FULL, IO_ERROR, TRUNCATED_FILE, CANCELLED. */
  async write(folder: string, plan: RankPlan): Promise<readonly FileDigest[]> {
    const rankFolder = `rank-${plan.shard.rank}`;
    await mkdir(path.join(folder, rankFolder));
    await using graphs = await DigestedFile.create(folder, `${rankFolder}/${graphsFile}`);
    for (const graph of plan.graphs) await graphs.append(graph);
    await using weights = await DigestedFile.create(folder, `${rankFolder}/${weightsFile}`);
    for (const weight of plan.weights) await this.#writeWeight(weights, weight);
    return [await graphs.finish(), await weights.finish()];
  }

  async #writeWeight(file: DigestedFile, weight: PlannedWeight): Promise<void> {
    await file.padTo(weight.values.offset);
    assert(file.bytes === weight.values.offset, 'weights are written in the order of their places');
    switch (weight.kind) {
      case 'float':
        return this.#writeFloat(file, weight);
      case 'blocks':
        return this.#writeBlocks(file, weight);
      case 'integers':
        return this.#writeIntegers(file, weight);
      case 'order':
        return this.#writeOrder(file, weight);
      default:
        return unreachable(weight);
    }
  }

  async #writeFloat(file: DigestedFile, weight: WeightOf<'float'>): Promise<void> {
    const { added } = weight;
    await this.#reader.read(weight.matrix, async (values) => {
      if (added !== 0) for (let i = 0; i < values.length; i++) values[i] = values[i]! + added;
      await file.append(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      this.#progress.advance(values.byteLength);
    });
  }

  async #writeBlocks(file: DigestedFile, weight: WeightOf<'blocks'>): Promise<void> {
    const { bits, matrix } = weight;
    const { columns } = matrix;
    const blocks = blocksPerRow(columns);
    const scales = this.#scalesFor(matrix.rows * blocks);
    let done = 0;
    await this.#reader.read(matrix, async (values, rows) => {
      const packed = this.#packedFor(rows * blocks * bytesPerBlock(bits));
      quantise(values, rows, columns, bits, packed, scales, done * blocks);
      done += rows;
      await file.append(packed);
      this.#progress.advance(packed.length);
    });
    await this.#append(file, weight.scales, scales);
  }

  async #writeIntegers(file: DigestedFile, weight: WeightOf<'integers'>): Promise<void> {
    const { matrix, kept } = weight;
    const scales = this.#scalesFor(weight.scales.length / Float32Array.BYTES_PER_ELEMENT);
    const zeros = new Uint8Array(weight.zeros?.length ?? 0);
    const done = { scales: 0, zeros: 0 };
    await this.#integers.read(matrix, kept, async (rows) => {
      scales.set(rows.scales, done.scales);
      done.scales += rows.scales.length;
      if (weight.zeros) zeros.set(rows.zeros, done.zeros);
      done.zeros += rows.zeros.length;
      await file.append(rows.packed);
      this.#progress.advance(rows.packed.length);
    });
    await this.#append(file, weight.scales, scales);
    if (weight.zeros) await this.#append(file, weight.zeros, zeros);
  }

  async #writeOrder(file: DigestedFile, { tensor, values }: WeightOf<'order'>): Promise<void> {
    const order = await this.#integers.order(tensor);
    await this.#append(file, values, BigInt64Array.from(order, BigInt));
  }

  /** The first bytes of `from`, at their place. */
  async #append(file: DigestedFile, { offset, length }: ExternalRange, from: ArrayBufferView): Promise<void> {
    await file.padTo(offset);
    await file.append(new Uint8Array(from.buffer, from.byteOffset, length));
    this.#progress.advance(length);
  }

  #packedFor(bytes: number): Uint8Array {
    if (this.#packed.length < bytes) this.#packed = new Uint8Array(bytes);
    return this.#packed.subarray(0, bytes);
  }

  #scalesFor(count: number): Float32Array {
    if (this.#scales.length < count) this.#scales = new Float32Array(count);
    return this.#scales;
  }
}
