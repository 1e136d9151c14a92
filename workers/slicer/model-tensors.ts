/**
 * The tensors of a model as config.json promises them, found in a checkpoint: under whatever name, in whatever format, alone or
 * among others. Everything is found and held against its shape before anything is read.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import { expectedTensors, type TensorShape } from '../models/expected-tensors.ts';
import type { StoredShape, Strided, TensorPlace } from '../models/places.ts';
import type { Range } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import { tensorNames } from '../models/tensor-names.ts';
import { type Checkpoint, missingTensor } from './checkpoint.ts';
import { placedIntegers, rangesOf } from './placed-rows.ts';
import type { StoredIntegers } from './stored/integers.ts';
import { asMatrix, type ReadableTensor } from './stored/readable-tensor.ts';
import { ReadableTensors } from './stored/readable-tensors.ts';
import type { StoredModel } from './stored-model.ts';
import { floatTypes } from './widen.ts';

interface FoundTensor {
  readonly readable: ReadableTensor;
  readonly place: TensorPlace;
}

export class ModelTensors implements StoredModel {
  readonly spec: ModelSpec;
  readonly #found: ReadonlyMap<string, FoundTensor>;

  private constructor(spec: ModelSpec, found: ReadonlyMap<string, FoundTensor>) {
    this.spec = spec;
    this.#found = found;
  }

  /**
   * Errors: MISSING_TENSOR; TENSOR_SHAPE; INVALID_CHECKPOINT for a format that is not read or spoilt, or a tensor that would
   * silently be left out.
   */
  static find(checkpoint: Checkpoint): ModelTensors {
    const { spec } = checkpoint;
    const readable = new ReadableTensors(checkpoint);
    const found = new Map<string, FoundTensor>();
    for (const tensor of expectedTensors(spec)) found.set(tensor.name, findTensor(tensor, readable, checkpoint));
    refuseUnread(checkpoint, new Set([...found.values()].flatMap((tensor) => tensor.readable.stored)));
    return new ModelTensors(spec, found);
  }

  /** Formats in which the model's tensors are stored, sorted. */
  get formats(): readonly string[] {
    return [...new Set([...this.#found.values()].map(({ readable }) => readable.format))].sort();
  }

  integers(name: string): StoredIntegers | undefined {
    const { readable, place } = this.#get(name);
    return readable.integers && placedIntegers(readable.integers, place);
  }

  /** Whether these columns of these rows begin or end between values that share a scale. */
  cutsScaleBlock(name: string, rows: Range, columns: Range): boolean {
    const { readable, place } = this.#get(name);
    const { scaleBlock } = readable;
    if (!scaleBlock || place.transposed) return false;
    const stored = asMatrix(readable.shape);
    const isInside = (edge: number, size: number, whole: number): boolean => edge % size !== 0 && edge !== whole;
    const edges = ({ first, count }: Range): readonly number[] => [first, first + count];
    return (
      edges(columns).some((edge) => isInside(edge, scaleBlock.columns, stored.columns)) ||
      rangesOf(place.rows, rows).some((part) =>
        edges(part).some((edge) => isInside(edge, scaleBlock.rows, stored.rows)),
      )
    );
  }

  /** Bytes to read for one row. */
  rowBytes(name: string): number {
    const { readable, place } = this.#get(name);
    if (!place.transposed) return readable.rowBytes * Math.max(1, ...(place.rows ?? []).map(({ step }) => step));
    // A row lies across: about as many bytes of a value as the file has on average, from each of the stored rows.
    const crossed = (place.rows ?? []).reduce((sum, { count }) => sum + count, 0) || asMatrix(readable.shape).rows;
    return Math.ceil((readable.rowBytes / asMatrix(readable.shape).columns) * crossed * (place.columns?.step ?? 1));
  }

  /** Fills `values` [rows, columns] with these columns of these rows of the tensor. Errors: as ReadableTensor.read. */
  async read(name: string, rows: Range, columns: Range, values: Float32Array): Promise<void> {
    const { readable, place } = this.#get(name);
    if (place.transposed) return readTransposed(readable, place, rows, columns, values);
    let done = 0;
    for (const part of rangesOf(place.rows, rows)) {
      const target = values.subarray(done * columns.count, (done + part.count) * columns.count);
      await readStrided(readable, part, columns, target);
      done += part.count;
    }
    assert(done === rows.count, `tensor ${name} has the rows that are read`);
  }

  #get(name: string): FoundTensor {
    const tensor = this.#found.get(name);
    assert(tensor, `tensor ${name} is expected before it is read`);
    return tensor;
  }
}

/** Rows between those that are wanted are read as well: they lie close together. */
async function readStrided(
  readable: ReadableTensor,
  rows: Strided,
  columns: Range,
  values: Float32Array,
): Promise<void> {
  const { first, count, step } = rows;
  if (step === 1) return readable.read({ first, count }, columns, values);
  const span = new Float32Array(((count - 1) * step + 1) * columns.count);
  await readable.read({ first, count: (count - 1) * step + 1 }, columns, span);
  for (let row = 0; row < count; row++) {
    const from = row * step * columns.count;
    values.set(span.subarray(from, from + columns.count), row * columns.count);
  }
}

/** Rows of the tensor are columns of what is stored. */
async function readTransposed(
  readable: ReadableTensor,
  place: TensorPlace,
  rows: Range,
  columns: Range,
  values: Float32Array,
): Promise<void> {
  const width = asMatrix(readable.shape).columns;
  const { first, step } = place.columns ?? { first: 0, step: 1 };
  const span = { first: first + rows.first * step, count: (rows.count - 1) * step + 1 };
  assert(span.first + span.count <= width, 'a transposed tensor has the columns that are read');
  for (const [i, part] of rangesOf(place.rows, columns).entries()) {
    assert(i === 0 && part.step === 1, 'what is read across lies in one piece');
    const stored = new Float32Array(part.count * span.count);
    await readable.read(part, span, stored);
    for (let row = 0; row < rows.count; row++) {
      for (let column = 0; column < columns.count; column++) {
        values[row * columns.count + column] = stored[column * span.count + row * step]!;
      }
    }
  }
}

function wrongShape(
  { tensor, shape }: StoredShape,
  stored: ReadableTensor | undefined,
  { configName }: Checkpoint,
): TriremeError {
  if (!stored) return missingTensor(tensor);
  return new TriremeError(
    'TENSOR_SHAPE',
    `tensor ${stored.name} has shape [${stored.shape.join(', ')}], ${configName} asks for [${shape.join(', ')}]`,
    { remedy: `${configName} and weights must be of one model: fetch both again` },
  );
}

function isSameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

function findTensor(expected: TensorShape, readable: ReadableTensors, checkpoint: Checkpoint): FoundTensor {
  const places = checkpoint.placesOf(expected);
  const present = places.flatMap((place) => {
    const tensor = readable.get(place.tensor);
    return tensor ? [{ place, readable: tensor }] : [];
  });
  const fitting = present.filter(({ place, readable: { rowsAreOutputs } }) => !(rowsAreOutputs && place.transposed));
  const isThere = ({ tensor, shape }: StoredShape): boolean => isSameShape(readable.get(tensor)?.shape ?? [], shape);
  const found = fitting.find(({ place }) => isThere(place) && (!place.beside || isThere(place.beside)));
  if (found) return found;
  // Of a tensor that is as it should be, the one that must be beside it is not.
  const known = fitting.find(({ place }) => isThere(place))?.place.beside ?? fitting[0]?.place;
  if (known) throw wrongShape(known, readable.get(known.tensor), checkpoint);
  for (const { tensor } of places) {
    const stored = checkpoint.tensor(tensor);
    if (!stored) continue;
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `tensor ${stored.name} is stored as ${stored.dtype}; supported: ${floatTypes.join(', ')}`,
      { remedy: 'Choose the model as it was before it was quantised, or quantised in a form that is supported' },
    );
  }
  throw missingTensor(places[0]?.tensor ?? expected.name, checkpoint.configName);
}

function refuseUnread(checkpoint: Checkpoint, read: ReadonlySet<string>): void {
  const { spec, configName } = checkpoint;
  for (const { name } of checkpoint.tensors) {
    const isUnusedHead = spec.tiedEmbeddings && name === tensorNames.head;
    if (read.has(name) || isUnusedHead || checkpoint.isExtra(name)) continue;
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `tensor ${name} is no part of a ${spec.family} model as ${configName} describes it; leaving it out would change the model`,
      { remedy: `${configName} and weights must be of one model: fetch both again` },
    );
  }
}
