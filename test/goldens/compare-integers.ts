/** Holds the integers of a package against those of the checkpoint's files, one by one. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expectedTensors } from '../../workers/models/expected-tensors.ts';
import type { TensorPlace } from '../../workers/models/places.ts';
import type { Checkpoint } from '../../workers/slicer/checkpoint.ts';
import { ModelTensors } from '../../workers/slicer/model-tensors.ts';
import { openCheckpoint } from '../../workers/slicer/open-checkpoint.ts';
import { rangesOf } from '../../workers/slicer/placed-rows.ts';
import { planRank } from '../../workers/slicer/rank-plan.ts';
import { slice } from '../../workers/slicer/slice.ts';
import type { PlannedWeight, WeightOf } from '../../workers/slicer/weight-layout.ts';
import { CheckpointIntegers, type IntegersInFile } from '../fixtures/integers-in-file.ts';

export interface IntegerComparison {
  /** As the checkpoint stores its integers. */
  readonly form: string;
  /** Codes, zero points and scales that were compared. */
  readonly compared: number;
  /** Those of them that are not what the file says. */
  readonly different: number;
  /** Matrices of all ranks whose integers were kept. */
  readonly kept: number;
  /** Matrices that are integers in the file and floats in the package, because a cut or a product asks for it. */
  readonly dequantised: number;
  /** How many codes of each kept tensor the ranks have together. */
  readonly codes: ReadonlyMap<string, number>;
}

/** Slices the checkpoint to `folder` and compares every rank. */
export async function compareIntegers(model: string, ranks: number, folder: string): Promise<IntegerComparison> {
  await slice({ model, out: folder, ranks, weights: 'native', companions: false });
  await using checkpoint = await openCheckpoint(model);
  const tensors = ModelTensors.find(checkpoint);
  const form = tensors.formats.filter((format) => format.includes('INT4')).join(', ');
  const tally = new Tally(form, storedIntegers(checkpoint, await CheckpointIntegers.read(model)));
  for (let rank = 0; rank < ranks; rank++) {
    const bytes = await readFile(path.join(folder, `rank-${rank}`, 'weights.bin'));
    tally.add(bytes, planRank(tensors, { weights: 'native', activations: 'int8', rank, ranks }).weights);
  }
  return tally;
}

class Tally implements IntegerComparison {
  readonly form: string;
  readonly codes = new Map<string, number>();
  compared = 0;
  different = 0;
  kept = 0;
  dequantised = 0;
  readonly #stored: ReadonlyMap<string, IntegersInFile>;

  constructor(form: string, stored: ReadonlyMap<string, IntegersInFile>) {
    this.form = form;
    this.#stored = stored;
  }

  /** A rank's weights.bin, and what lies in it. */
  add(bytes: Buffer, weights: readonly PlannedWeight[]): void {
    const orders = weights.filter((weight) => weight.kind === 'order');
    for (const weight of weights) {
      if (weight.kind === 'order') continue;
      const tensor = weight.matrix.parts[0]?.tensor ?? '';
      const inFile = this.#stored.get(tensor);
      if (!inFile) continue;
      if (weight.kind !== 'integers') {
        this.dequantised++;
        continue;
      }
      const order = weight.kept.reordered ? orders.find((one) => one.tensor === tensor) : undefined;
      const written = new WrittenMatrix(bytes, weight, order);
      this.kept++;
      this.compared += 3 * written.codes;
      this.different += written.differences(inFile);
      this.codes.set(tensor, (this.codes.get(tensor) ?? 0) + written.codes);
    }
  }
}

/** By the model's own names: the tensors that the files hold as integers. */
export function storedIntegers(checkpoint: Checkpoint, file: CheckpointIntegers): ReadonlyMap<string, IntegersInFile> {
  const found = new Map<string, IntegersInFile>();
  for (const tensor of expectedTensors(checkpoint.spec)) {
    for (const place of checkpoint.placesOf(tensor)) {
      const integers = file.matrix(place.tensor);
      if (integers && !found.has(tensor.name)) found.set(tensor.name, placed(integers, place));
    }
  }
  return found;
}

/** Where a tensor is rows of a larger one. */
function placed(integers: IntegersInFile, { rows }: TensorPlace): IntegersInFile {
  if (!rows) return integers;
  const storedRow = (row: number): number => rangesOf(rows, { first: row, count: 1 })[0]!.first;
  return {
    codeAt: (row, column) => integers.codeAt(storedRow(row), column),
    groupOf: (column) => integers.groupOf(column),
    zeroAt: (row, group) => integers.zeroAt(storedRow(row), group),
    scaleAt: (row, group) => integers.scaleAt(storedRow(row), group),
  };
}

/** Of weights.bin: what a kept matrix says in the operator's own terms. */
class WrittenMatrix {
  readonly #bytes: Buffer;
  readonly #weight: WeightOf<'integers'>;
  readonly #order: WeightOf<'order'> | undefined;
  readonly #blocks: number;

  constructor(bytes: Buffer, weight: WeightOf<'integers'>, order: WeightOf<'order'> | undefined) {
    this.#bytes = bytes;
    this.#weight = weight;
    this.#order = order;
    this.#blocks = Math.ceil(weight.matrix.columns / weight.kept.blockSize);
  }

  get codes(): number {
    const { parts, columns } = this.#weight.matrix;
    return parts.reduce((sum, { rows }) => sum + rows.count * columns, 0);
  }

  /** Places whose code, zero point or scale is another, and columns that the order names twice. */
  differences(file: IntegersInFile): number {
    const { parts, columns } = this.#weight.matrix;
    const order = Array.from({ length: columns }, (_, i) => this.#columnAt(i));
    let different = columns - new Set(order).size;
    let row = 0;
    for (const part of parts) {
      for (let i = 0; i < part.rows.count; i++, row++) {
        for (const [at, column] of order.entries()) {
          const [storedRow, storedColumn] = [part.rows.first + i, part.columns.first + column];
          const group = file.groupOf(storedColumn);
          if (this.#codeAt(row, at) !== file.codeAt(storedRow, storedColumn)) different++;
          if (this.#zeroAt(row, at) !== file.zeroAt(storedRow, group)) different++;
          if (this.#scaleAt(row, at) !== file.scaleAt(storedRow, group)) different++;
        }
      }
    }
    return different;
  }

  /** Which column of the part is multiplied at a place. */
  #columnAt(place: number): number {
    return this.#order ? Number(this.#bytes.readBigInt64LE(this.#order.values.offset + 8 * place)) : place;
  }

  #codeAt(row: number, place: number): number {
    const { values, kept } = this.#weight;
    const byte = this.#bytes[values.offset + (row * this.#blocks * kept.blockSize) / 2 + (place >> 1)]!;
    return place % 2 === 0 ? byte & 15 : byte >> 4;
  }

  #zeroAt(row: number, place: number): number {
    const { zeros, kept } = this.#weight;
    if (!zeros) return 8;
    const block = Math.floor(place / kept.blockSize);
    const byte = this.#bytes[zeros.offset + row * Math.ceil(this.#blocks / 2) + (block >> 1)]!;
    return block % 2 === 0 ? byte & 15 : byte >> 4;
  }

  #scaleAt(row: number, place: number): number {
    const { scales, kept } = this.#weight;
    return this.#bytes.readFloatLE(scales.offset + 4 * (row * this.#blocks + Math.floor(place / kept.blockSize)));
  }
}
