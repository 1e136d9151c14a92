/** The bytes of a weight, or of a part of one, as they go into weights.bin. */
import { unreachable } from '#platform/assert.ts';
import { IntegerReader } from './integer-reader.ts';
import { readMatrix } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import { quantise } from './quantise.ts';
import { type PlannedWeight, rangesOf, type WeightOf } from './weight-layout.ts';

/** What a weight consists of, one after the other in one piece of memory. */
export interface EncodedWeight {
  readonly values: Uint8Array<ArrayBuffer>;
  /** Empty where the kind of weight has none. */
  readonly scales: Uint8Array<ArrayBuffer>;
  readonly zeros: Uint8Array<ArrayBuffer>;
}

export function encodedBytes(weight: PlannedWeight): number {
  const { values, scales, zeros } = rangesOf(weight);
  return values.length + (scales?.length ?? 0) + (zeros?.length ?? 0);
}

export function encodedIn(memory: ArrayBuffer, weight: PlannedWeight): EncodedWeight {
  const { values, scales, zeros } = rangesOf(weight);
  const scalesEnd = values.length + (scales?.length ?? 0);
  return {
    values: new Uint8Array(memory, 0, values.length),
    scales: new Uint8Array(memory, values.length, scales?.length ?? 0),
    zeros: new Uint8Array(memory, scalesEnd, zeros?.length ?? 0),
  };
}

export class WeightEncoder {
  readonly #tensors: ModelTensors;
  readonly #integers: IntegerReader;
  #floats = new Float32Array(0);

  constructor(tensors: ModelTensors) {
    this.#tensors = tensors;
    this.#integers = new IntegerReader(tensors);
  }

  /** Fills `memory`, of at least encodedBytes(). Errors: TRUNCATED_FILE, INVALID_CHECKPOINT, IO_ERROR. */
  async encode(weight: PlannedWeight, memory: ArrayBuffer): Promise<void> {
    const encoded = encodedIn(memory, weight);
    switch (weight.kind) {
      case 'float':
        return this.#encodeFloat(weight, asFloats(encoded.values));
      case 'blocks':
        return this.#encodeBlocks(weight, encoded);
      case 'integers': {
        const { values, scales, zeros } = encoded;
        return this.#integers.read(weight.matrix, weight.kept, { packed: values, scales: asFloats(scales), zeros });
      }
      case 'order': {
        const order = await this.#integers.order(weight.tensor);
        return new BigInt64Array(memory, 0, order.length).set(BigInt64Array.from(order, BigInt));
      }
      default:
        return unreachable(weight);
    }
  }

  async #encodeFloat({ matrix, added }: WeightOf<'float'>, values: Float32Array): Promise<void> {
    await readMatrix(this.#tensors, matrix, values);
    if (added !== 0) for (let i = 0; i < values.length; i++) values[i] = values[i]! + added;
  }

  async #encodeBlocks({ matrix, bits }: WeightOf<'blocks'>, { values, scales }: EncodedWeight): Promise<void> {
    const { rows, columns } = matrix;
    if (this.#floats.length < rows * columns) this.#floats = new Float32Array(rows * columns);
    const floats = this.#floats.subarray(0, rows * columns);
    await readMatrix(this.#tensors, matrix, floats);
    quantise(floats, rows, columns, bits, values, asFloats(scales));
  }
}

function asFloats({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
  return new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
}
