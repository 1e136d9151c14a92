/** The tensors of a checkpoint by their names in its files, widened to float64. */
import { readFileSync } from 'node:fs';
import { add, matrixTimes, multiply, rmsNormalised, type Tensor, type Vector } from './vectors.ts';

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Reads one safetensors file: eight bytes of header length, the header in JSON, the values. */
export function readSafetensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const header: Readonly<Record<string, HeaderEntry>> = JSON.parse(bytes.toString('utf8', 8, begin));
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => {
          return [name, { shape, values: widen(bytes.subarray(begin + from, begin + to), dtype) }];
        },
      ),
  );
}

function widen(bytes: Buffer, dtype: string): Vector {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (dtype) {
    case 'F32':
      return Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    case 'F16':
      return Float64Array.from({ length: bytes.length / 2 }, (_, i) => view.getFloat16(2 * i, true));
    case 'BF16': {
      const word = new DataView(new ArrayBuffer(4));
      return Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
        word.setUint32(0, view.getUint16(2 * i, true) << 16);
        return word.getFloat32(0);
      });
    }
    default:
      throw new Error(`the reference reads no ${dtype}`);
  }
}

/** Tensors below one prefix, and what is done with them by name. */
export class Weights {
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #prefix: string;

  constructor(tensors: ReadonlyMap<string, Tensor>, prefix = '') {
    this.#tensors = tensors;
    this.#prefix = prefix;
  }

  /** Those whose names begin with `prefix` and a dot. */
  at(prefix: string): Weights {
    return new Weights(this.#tensors, `${this.#prefix}${prefix}.`);
  }

  has(name: string): boolean {
    return this.#tensors.has(this.#prefix + name);
  }

  tensor(name: string): Tensor {
    const tensor = this.#tensors.get(this.#prefix + name);
    if (!tensor) throw new Error(`the checkpoint has no ${this.#prefix}${name}`);
    return tensor;
  }

  vector(name: string): Vector {
    return this.tensor(name).values;
  }

  /** Slice `index` of a stacked tensor. */
  slice(name: string, index: number): Tensor {
    const { shape, values } = this.tensor(name);
    const size = values.length / shape[0]!;
    return { shape: shape.slice(1), values: values.subarray(index * size, (index + 1) * size) };
  }

  /** W x, and the bias where the checkpoint has one. */
  linear(name: string, x: Vector): Vector {
    const y = matrixTimes(this.tensor(`${name}.weight`), x);
    return this.has(`${name}.bias`) ? add(y, this.vector(`${name}.bias`)) : y;
  }

  rmsNorm(name: string, x: Vector, epsilon: number): Vector {
    return multiply(rmsNormalised(x, epsilon), this.vector(`${name}.weight`));
  }

  /** The norms of Qwen3-Next and Qwen3.5 multiply by 1 + w. */
  rmsNormPlusOne(name: string, x: Vector, epsilon: number): Vector {
    const weight = this.vector(`${name}.weight`).map((value) => 1 + value);
    return multiply(rmsNormalised(x, epsilon), weight);
  }
}
