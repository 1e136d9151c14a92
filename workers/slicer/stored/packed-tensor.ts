/**
 * compressed-tensors pack-quantized: X_packed holds eight codes a word along a row, the first in the lowest bits, stored + 8;
 * X_scale [out, groups]; X_zero_point packed in the same way along a column, where it is asymmetric; X_g_idx [in] where columns
 * were put into groups by their activations.
 */
import type { Range } from '../../models/shard.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { StoredTensor } from '../safetensors.ts';
import { integerTensor } from './integer-tensor.ts';
import { checkedOrder, groupSizeOf, middleCode, plainOrder, type StoredIntegers } from './integers.ts';
import type { ReadableTensor } from './readable-tensor.ts';
import { damaged, readScales, requireScale } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

const codesPerWord = 8;
const wordBytes = 4;

interface PackedParts {
  readonly packed: StoredTensor;
  readonly scale: StoredTensor;
  readonly zeros: StoredTensor | undefined;
  readonly order: StoredTensor | undefined;
  readonly shape: StoredTensor | undefined;
}

export function packedTensor(source: StoredSource, name: string): ReadableTensor | undefined {
  const { checkpoint } = source;
  const packed = checkpoint.tensor(`${name}_packed`);
  if (!packed) return undefined;
  const scale = checkpoint.tensor(`${name}_scale`);
  if (!scale) throw damaged(`tensor ${packed.name} has no scales: ${name}_scale is not there`);
  const parts: PackedParts = {
    packed,
    scale,
    zeros: checkpoint.tensor(`${name}_zero_point`),
    order: checkpoint.tensor(`${name}_g_idx`),
    shape: checkpoint.tensor(`${name}_shape`),
  };
  const integers = new PackedIntegers(source, parts);
  const stored = Object.values<StoredTensor | undefined>({ ...parts }).flatMap((part) => part?.name ?? []);
  return integerTensor({ name, format: `INT4 group ${integers.groupSize}`, stored }, integers);
}

class PackedIntegers implements StoredIntegers {
  readonly bits = 4;
  readonly shape: readonly [number, number];
  readonly groupSize: number;
  readonly hasZeros: boolean;
  readonly actOrder: boolean;
  readonly #source: StoredSource;
  readonly #parts: PackedParts;
  readonly #groups: number;
  #isShapeChecked = false;

  constructor(source: StoredSource, parts: PackedParts) {
    const { packed, scale, zeros, order } = parts;
    const [out = 0, words = 0] = packed.shape;
    const columns = words * codesPerWord;
    requireWords(packed, [out, words]);
    const choices = source.quantisation.packed.map((group) => groupSizeOf(group, columns));
    if (choices.length === 0) {
      throw damaged(`tensor ${packed.name} is packed, but config.json does not say how it was quantised`);
    }
    requireScale(
      scale,
      choices.map((size) => [out, Math.ceil(columns / size)]),
    );
    this.shape = [out, columns];
    this.#groups = scale.shape[1]!;
    this.groupSize = choices.find((size) => Math.ceil(columns / size) === this.#groups)!;
    if (zeros) requireWords(zeros, [Math.ceil(out / codesPerWord), this.#groups]);
    if (order) requireWords(order, [columns]);
    this.hasZeros = zeros !== undefined;
    this.actOrder = order !== undefined;
    this.#source = source;
    this.#parts = parts;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    await this.#checkShape();
    const { checkpoint, buffer } = this.#source;
    const rowBytes = this.shape[1] / 2;
    const bytes = new Uint8Array(buffer.take(rows.count * rowBytes), 0, rows.count * rowBytes);
    await checkpoint.read(this.#parts.packed.name, rows.first * rowBytes, bytes);
    // Words are little-endian, so codes lie in the bytes as they do in a word: two each, the first in the low half.
    for (let row = 0; row < rows.count; row++) {
      for (let i = 0; i < columns.count; i++) {
        const column = columns.first + i;
        codes[row * columns.count + i] = halfOf(bytes[row * rowBytes + (column >> 1)]!, column);
      }
    }
  }

  async readGroups(rows: Range) {
    const { checkpoint } = this.#source;
    const { scale, zeros: stored } = this.#parts;
    const count = rows.count * this.#groups;
    const scales = await readScales(checkpoint, scale, rows.first * this.#groups, count);
    const zeros = stored ? await this.#readZeros(stored, rows) : new Uint8Array(count).fill(middleCode);
    return { scales, zeros };
  }

  async readOrder(): Promise<Int32Array> {
    const { order } = this.#parts;
    if (!order) return plainOrder(this.shape[1], this.groupSize);
    return checkedOrder(order.name, await readWords(this.#source.checkpoint, order), this);
  }

  async #readZeros({ name }: StoredTensor, rows: Range): Promise<Uint8Array> {
    const firstWord = Math.floor(rows.first / codesPerWord);
    const lastWord = Math.floor((rows.first + rows.count - 1) / codesPerWord);
    const bytes = new Uint8Array((lastWord + 1 - firstWord) * this.#groups * wordBytes);
    await this.#source.checkpoint.read(name, firstWord * this.#groups * wordBytes, bytes);
    return Uint8Array.from({ length: rows.count * this.#groups }, (_, i) => {
      const row = rows.first + Math.floor(i / this.#groups);
      const word = (Math.floor(row / codesPerWord) - firstWord) * this.#groups + (i % this.#groups);
      return halfOf(bytes[word * wordBytes + ((row % codesPerWord) >> 1)]!, row);
    });
  }

  /** The width could be less than the words hold. */
  async #checkShape(): Promise<void> {
    const { shape, packed } = this.#parts;
    if (this.#isShapeChecked || !shape) return;
    const bytes = new Uint8Array(shape.bytes);
    await this.#source.checkpoint.read(shape.name, 0, bytes);
    const sizes = shape.dtype === 'I64' ? Array.from(new BigInt64Array(bytes.buffer), Number) : [];
    if (sizes.join() !== this.shape.join()) {
      throw damaged(`tensor ${shape.name} says [${sizes.join(', ')}], ${packed.name} holds [${this.shape.join(', ')}]`);
    }
    this.#isShapeChecked = true;
  }
}

/** Of a byte that holds two codes, the one at an even or odd place. */
export function halfOf(byte: number, place: number): number {
  return (place & 1) === 0 ? byte & 15 : byte >> 4;
}

/** Errors: INVALID_CHECKPOINT unless the tensor holds 32-bit words in this shape. */
export function requireWords({ name, dtype, shape }: StoredTensor, expected: readonly number[]): void {
  if (dtype !== 'I32') throw damaged(`tensor ${name} is stored as ${dtype}, expected I32`);
  if (shape.join() === expected.join()) return;
  throw damaged(`tensor ${name} has shape [${shape.join(', ')}], expected [${expected.join(', ')}]`);
}

async function readWords(checkpoint: Checkpoint, { name, bytes }: StoredTensor): Promise<Int32Array> {
  const words = new Uint8Array(bytes);
  await checkpoint.read(name, 0, words);
  return new Int32Array(words.buffer);
}
