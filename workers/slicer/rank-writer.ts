/** Streams one rank's graphs and weights into its folder, in the order and at the places of its plan. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { assert } from '#platform/assert.ts';
import type { FileDigest } from '../models/manifest.ts';
import { DigestedFile } from './digest.ts';
import type { MatrixReader } from './matrix.ts';
import type { Progress } from './progress.ts';
import { blocksPerRow, bytesPerBlock, quantise } from './quantise.ts';
import type { RankPlan } from './rank-plan.ts';
import { type PlannedWeight, weightsFile } from './weight-layout.ts';

const graphsFile = 'graphs.bin';

export class RankWriter {
  readonly #reader: MatrixReader;
  readonly #progress: Progress;
  #packed = new Uint8Array(0);
  #scales = new Float32Array(0);

  constructor(reader: MatrixReader, progress: Progress) {
    this.#reader = reader;
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
    if (weight.kind === 'float') await this.#writeFloat(file, weight);
    else await this.#writeBlocks(file, weight);
  }

  async #writeFloat(file: DigestedFile, weight: PlannedWeight & { kind: 'float' }): Promise<void> {
    const { added } = weight;
    await this.#reader.read(weight.matrix, async (values) => {
      if (added !== 0) for (let i = 0; i < values.length; i++) values[i] = values[i]! + added;
      await file.append(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      this.#progress.advance(values.byteLength);
    });
  }

  async #writeBlocks(file: DigestedFile, weight: PlannedWeight & { kind: 'blocks' }): Promise<void> {
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
    await file.padTo(weight.scales.offset);
    await file.append(new Uint8Array(scales.buffer, 0, weight.scales.length));
    this.#progress.advance(weight.scales.length);
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
