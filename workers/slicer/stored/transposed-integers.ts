/**
 * What GPTQ and AWQ have in common: a matrix stored as [in, out], scales [groups, out], zero points [groups, out/8] packed along a
 * row; held in memory while it is read.
 */
import type { Range } from '../../models/shard.ts';
import type { StoredTensor } from '../safetensors.ts';
import { isFloatType, widen } from '../widen.ts';
import { checkedOrder, type Groups, groupCount, plainOrder, type StoredIntegers } from './integers.ts';
import { halfOf, requireWords } from './packed-tensor.ts';
import { damaged, refuseOddScales, requireScale } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

export interface TransposedParts {
  readonly codes: StoredTensor;
  readonly zeros: StoredTensor;
  readonly scales: StoredTensor;
  readonly order: StoredTensor | undefined;
}

/** How a format packs eight codes into a word. */
export interface Packing {
  readonly shape: readonly [out: number, columns: number];
  readonly groupSize: number;
  readonly actOrder: boolean;
  /** Where a code lies: the index of its word, and its place there, 0 being the lowest bits. */
  wordOf(row: number, column: number): number;
  placeOf(row: number, column: number): number;
  /** The place of a row's zero point in its word. */
  zeroPlaceOf(row: number): number;
  readonly zeroOffset: number;
}

const wordBytes = 4;

/** The parts of a matrix whose codes are `codes`, at names that formats share. */
export function transposedParts({ checkpoint }: StoredSource, codes: StoredTensor, prefix: string): TransposedParts {
  const required = (name: string): StoredTensor => {
    const tensor = checkpoint.tensor(`${prefix}.${name}`);
    if (tensor) return tensor;
    throw damaged(`tensor ${codes.name} has no ${name}: ${prefix}.${name} is not there`);
  };
  return {
    codes,
    zeros: required('qzeros'),
    scales: required('scales'),
    order: checkpoint.tensor(`${prefix}.g_idx`),
  };
}

export class TransposedIntegers implements StoredIntegers {
  readonly bits = 4;
  readonly shape: readonly [number, number];
  readonly groupSize: number;
  readonly hasZeros = true;
  readonly actOrder: boolean;
  readonly #source: StoredSource;
  readonly #parts: TransposedParts;
  readonly #packing: Packing;

  constructor(source: StoredSource, parts: TransposedParts, packing: Packing) {
    this.shape = packing.shape;
    this.groupSize = packing.groupSize;
    this.actOrder = packing.actOrder;
    const [out, columns] = this.shape;
    const groups = groupCount(this);
    requireWords(parts.zeros, [groups, Math.ceil(out / 8)]);
    requireScale(parts.scales, [[groups, out]]);
    if (parts.order) requireWords(parts.order, [columns]);
    this.#source = source;
    this.#parts = parts;
    this.#packing = packing;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    const { codes: bytes } = await this.#hold();
    const packing = this.#packing;
    for (let i = 0; i < columns.count; i++) {
      const column = columns.first + i;
      for (let row = 0; row < rows.count; row++) {
        const place = packing.placeOf(rows.first + row, column);
        const byte = packing.wordOf(rows.first + row, column) * wordBytes + (place >> 1);
        codes[row * columns.count + i] = halfOf(bytes[byte]!, place);
      }
    }
  }

  async readGroups(rows: Range): Promise<Groups> {
    const { zeros: zeroBytes, scales: scaleBytes } = await this.#hold();
    const [out] = this.shape;
    const groups = groupCount(this);
    const stored = this.#widened(scaleBytes);
    const words = Math.ceil(out / 8);
    const scales = new Float32Array(rows.count * groups);
    const zeros = new Uint8Array(rows.count * groups);
    for (let i = 0; i < scales.length; i++) {
      const [row, group] = [rows.first + Math.floor(i / groups), i % groups];
      const place = this.#packing.zeroPlaceOf(row);
      const byte = (group * words + (row >> 3)) * wordBytes + (place >> 1);
      scales[i] = stored[group * out + row]!;
      // A zero point of 0 is stored as 15 where 1 is to be added: it wraps.
      zeros[i] = (halfOf(zeroBytes[byte]!, place) + this.#packing.zeroOffset) & 15;
    }
    refuseOddScales(scales, this.#parts.scales.name);
    return { scales, zeros };
  }

  async readOrder(): Promise<Int32Array> {
    const { order } = await this.#hold();
    const [, columns] = this.shape;
    return order ? checkedOrder(this.#parts.order!.name, order, this) : plainOrder(columns, this.groupSize);
  }

  async #hold() {
    const { codes, zeros, scales, order } = this.#parts;
    const parts = order ? [codes, zeros, scales, order] : [codes, zeros, scales];
    const [codeBytes, zeroBytes, scaleBytes, orderBytes] = await this.#source.held.hold(parts);
    return {
      codes: codeBytes!,
      zeros: zeroBytes!,
      scales: scaleBytes!,
      order: orderBytes && new Int32Array(orderBytes.buffer, 0, orderBytes.length / wordBytes),
    };
  }

  #widened(bytes: Uint8Array<ArrayBuffer>): Float32Array {
    const { dtype, name } = this.#parts.scales;
    const [out] = this.shape;
    const values = new Float32Array(out * groupCount(this));
    if (!isFloatType(dtype)) throw damaged(`tensor ${name} is stored as ${dtype}, which is no type of scales`);
    widen(dtype, bytes.buffer, 0, values.length, values, 0);
    return values;
  }
}
