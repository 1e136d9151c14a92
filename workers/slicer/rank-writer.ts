/** Streams one rank's graphs and weights into its folder, in the order and at the places of its plan. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { assert } from '#platform/assert.ts';
import type { FileDigest } from '../models/manifest.ts';
import type { ExternalRange } from '../models/onnx-graph.ts';
import { DigestedFile } from './digest.ts';
import type { EncodedPart, Encoding } from './encoding.ts';
import type { ModelTensors } from './model-tensors.ts';
import type { Progress } from './progress.ts';
import type { RankPlan } from './rank-plan.ts';
import { rangesOf, weightsFile } from './weight-layout.ts';
import { partsOf } from './weight-parts.ts';

export function rankFolder(rank: number): string {
  return `rank-${rank}`;
}

/** Names in a package. */
export function rankFiles(rank: number): { readonly graphs: string; readonly weights: string } {
  return { graphs: `${rankFolder(rank)}/graphs.bin`, weights: `${rankFolder(rank)}/${weightsFile}` };
}

export class RankWriter {
  readonly #tensors: ModelTensors;
  readonly #encoding: Encoding;
  readonly #progress: Progress;
  /** Of the parts so far of a weight; they go behind all of its values. */
  readonly #scales: Uint8Array[] = [];
  readonly #zeros: Uint8Array[] = [];

  constructor(tensors: ModelTensors, encoding: Encoding, progress: Progress) {
    this.#tensors = tensors;
    this.#encoding = encoding;
    this.#progress = progress;
  }

  /** Errors: DISK_FULL, IO_ERROR, TRUNCATED_FILE, CANCELLED. */
  async write(folder: string, plan: RankPlan): Promise<readonly FileDigest[]> {
    const { rank } = plan.shard;
    const files = rankFiles(rank);
    await mkdir(path.join(folder, rankFolder(rank)));
    await using graphs = await DigestedFile.create(folder, files.graphs);
    for (const graph of plan.graphs) await graphs.append(graph);
    await using weights = await DigestedFile.create(folder, files.weights);
    for await (const part of this.#encoding.encode(partsOf(plan.weights, this.#tensors))) {
      await this.#writePart(weights, part);
    }
    return [await graphs.finish(), await weights.finish()];
  }

  async #writePart(file: DigestedFile, { whole, weight, encoded }: EncodedPart): Promise<void> {
    await this.#append(file, weight.values, encoded.values);
    this.#scales.push(encoded.scales.slice());
    this.#zeros.push(encoded.zeros.slice());
    const { values, scales, zeros } = rangesOf(whole);
    if (endOf(weight.values) < endOf(values)) return;
    const [allScales, allZeros] = [this.#scales.splice(0), this.#zeros.splice(0)];
    if (scales) await this.#append(file, scales, ...allScales);
    if (zeros) await this.#append(file, zeros, ...allZeros);
  }

  async #append(file: DigestedFile, { offset }: ExternalRange, ...pieces: readonly Uint8Array[]): Promise<void> {
    await file.padTo(offset);
    assert(file.bytes === offset, 'weights are written in the order of their places');
    for (const bytes of pieces) {
      await file.append(bytes);
      this.#progress.advance(bytes.length);
    }
  }
}

function endOf({ offset, length }: ExternalRange): number {
  return offset + length;
}
