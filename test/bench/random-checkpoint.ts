/**
 * Writes checkpoints of any family with random weights, tensor by tensor, for benchmarks. The same arguments give the same bytes.
 * Matrices repeat one block of random numbers, scaled as in a trained model; what they compute means nothing, what it costs is real.
 */
import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expectedTensors, type TensorShape } from '../../workers/models/expected-tensors.ts';
import { readModelSpec } from '../../workers/models/families.ts';
import { keyOf, normal, toBfloat16, word } from '../goldens/recipe.ts';
import { encodeHeader, plainTokenizer, type TensorHead } from '../goldens/write-checkpoint.ts';

/** FP8: matrices as DeepSeek-V3 stores them, e4m3 with a scale for 128x128; everything else bfloat16. */
export type StoredFormat = 'BF16' | 'F32' | 'FP8';

export interface RandomCheckpoint {
  /** config.json; with FP8 its quantization_config says so. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly format: StoredFormat;
  readonly seed: number;
}

/** Writes config.json, model.safetensors, tokenizer.json and generation_config.json into the folder. */
export async function writeRandomCheckpoint(folder: string, { config, format, seed }: RandomCheckpoint): Promise<void> {
  const spec = readModelSpec(config);
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'config.json'), `${JSON.stringify(config, null, 1)}\n`);
  await writeFile(path.join(folder, 'generation_config.json'), '{"eos_token_id": 2, "do_sample": false}\n');
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(plainTokenizer(spec.vocabularySize)));
  const tensors = expectedTensors(spec).flatMap((tensor) => storedAs(tensor, format));
  const numbers = new RandomNumbers(seed);
  await using file = await open(path.join(folder, 'model.safetensors'), 'w');
  await file.writeFile(encodeHeader(tensors));
  for (const tensor of tensors) await writeTensor(file, tensor, numbers);
}

const elementBytes = { BF16: 2, F32: 4, F8_E4M3: 1 } as const;

interface RandomTensor extends TensorHead {
  readonly dtype: keyof typeof elementBytes;
  /** weight: normal numbers. norm: all ones. scale: what multiplies FP8. */
  readonly kind: 'weight' | 'norm' | 'scale';
}

const fp8BlockSize = 128;

/** What a file holds for a tensor of the model. */
export function storedAs({ name, shape, role }: TensorShape, format: StoredFormat): RandomTensor[] {
  if (format === 'FP8' && (role === 'matrix' || role === 'kept')) {
    const blocks = shape.map((size) => Math.ceil(size / fp8BlockSize));
    return [
      head({ name, dtype: 'F8_E4M3', shape, kind: 'weight' }),
      head({ name: `${name}_scale_inv`, dtype: 'F32', shape: blocks, kind: 'scale' }),
    ];
  }
  const dtype = format === 'F32' ? 'F32' : 'BF16';
  return [head({ name, dtype, shape, kind: shape.length === 1 ? 'norm' : 'weight' })];
}

function head(tensor: Omit<RandomTensor, 'byteLength'>): RandomTensor {
  const elements = tensor.shape.reduce((product, size) => product * size, 1);
  return { ...tensor, byteLength: elements * elementBytes[tensor.dtype] };
}

async function writeTensor(file: FileHandle, tensor: RandomTensor, numbers: RandomNumbers): Promise<void> {
  for (const piece of numbers.bytesOf(tensor)) await file.writeFile(piece);
}

const blockElements = 1 << 20;
/** Each tensor starts elsewhere in the block, so that no two experts are equal. */
const strideElements = 40_507;

/** Random numbers with the deviation that keeps a layer's output as large as its input. */
class RandomNumbers {
  readonly #seed: number;
  readonly #blocks = new Map<string, Uint8Array>();
  #tensors = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Pieces of the tensor's bytes, in order. */
  *bytesOf({ shape, dtype, kind, byteLength }: RandomTensor): Generator<Uint8Array> {
    const source = this.#block(dtype, kind, shape[1] ?? 1);
    let start = ((this.#tensors++ * strideElements) % blockElements) * elementBytes[dtype];
    for (let done = 0; done < byteLength; ) {
      const piece = source.subarray(start, start + byteLength - done);
      yield piece;
      done += piece.length;
      start = 0;
    }
  }

  /** For a matrix of this many columns. */
  #block(dtype: RandomTensor['dtype'], kind: RandomTensor['kind'], columns: number): Uint8Array {
    const name = `${dtype} ${kind} ${kind === 'weight' && dtype !== 'F8_E4M3' ? columns : ''}`;
    const known = this.#blocks.get(name);
    if (known) return known;
    const block = dtype === 'F8_E4M3' ? this.#fp8Block() : this.#floatBlock(dtype, kind, columns);
    this.#blocks.set(name, block);
    return block;
  }

  #floatBlock(dtype: 'BF16' | 'F32', kind: RandomTensor['kind'], columns: number): Uint8Array {
    const key = keyOf(this.#seed, `block ${columns}`);
    const draw = {
      weight: (i: number) => normal(key, i) / Math.sqrt(columns),
      norm: () => 1,
      scale: (i: number) => (1 + word(key, i) * 2 ** -32) / 4096,
    }[kind];
    const floats = Float32Array.from({ length: blockElements }, (_, i) => draw(i));
    const { buffer } = dtype === 'F32' ? floats : toBfloat16(floats);
    return new Uint8Array(buffer);
  }

  /** Every byte but those that are no numbers. */
  #fp8Block(): Uint8Array {
    const key = keyOf(this.#seed, 'fp8');
    return Uint8Array.from({ length: blockElements }, (_, i) => {
      const byte = word(key, i) >>> 24;
      return (byte & 0x7f) === 0x7f ? byte - 1 : byte;
    });
  }
}
