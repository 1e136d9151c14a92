/** Blocks of GGUF files that are symmetric integers with one scale, Q4_0 and Q8_0: packages can keep them. */
import type { Range } from '../../models/shard.ts';
import { q40, q80 } from '../gguf/blocks/small-blocks.ts';
import type { Bits } from '../quantise.ts';
import type { StoredTensor } from '../safetensors.ts';
import { type Groups, plainOrder, type StoredIntegers } from './integers.ts';
import { asMatrix, type ReadableTensor } from './readable-tensor.ts';
import { refuseOddScales } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

interface IntegerBlock {
  readonly bits: Bits;
  readonly blockBytes: number;
  /** Of the value at this place in the block that begins at byte `at`. */
  codeAt(bytes: Uint8Array, at: number, place: number): number;
}

const { blockValues } = q40;
const half = blockValues / 2;
/** The scale comes first. */
const scaleBytes = 2;

const integerBlocks: ReadonlyMap<string, IntegerBlock> = new Map([
  [
    'Q4_0',
    {
      bits: 4,
      blockBytes: q40.blockBytes,
      codeAt(bytes, at, place) {
        const byte = bytes[at + scaleBytes + (place % half)]!;
        return place < half ? byte & 15 : byte >> 4;
      },
    },
  ],
  // Its bytes are signed: with 128 added they count from 0.
  [
    'Q8_0',
    { bits: 8, blockBytes: q80.blockBytes, codeAt: (bytes, at, place) => bytes[at + scaleBytes + place]! ^ 128 },
  ],
]);

/** { integers }, or nothing where blocks are something else. */
export function integersOf(source: StoredSource, stored: StoredTensor): Pick<ReadableTensor, 'integers'> {
  const block = integerBlocks.get(stored.dtype);
  return block ? { integers: new BlockIntegers(source, stored, block) } : {};
}

class BlockIntegers implements StoredIntegers {
  readonly shape: readonly [number, number];
  readonly bits: Bits;
  readonly groupSize = blockValues;
  readonly hasZeros = false;
  readonly actOrder = false;
  readonly #source: StoredSource;
  readonly #name: string;
  readonly #block: IntegerBlock;
  readonly #blocks: number;

  constructor(source: StoredSource, { name, shape }: StoredTensor, block: IntegerBlock) {
    const { rows, columns } = asMatrix(shape);
    this.shape = [rows, columns];
    this.bits = block.bits;
    this.#source = source;
    this.#name = name;
    this.#block = block;
    this.#blocks = columns / blockValues;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    const bytes = await this.#readRows(rows);
    const { blockBytes } = this.#block;
    for (let row = 0; row < rows.count; row++) {
      for (let i = 0; i < columns.count; i++) {
        const column = columns.first + i;
        const at = (row * this.#blocks + Math.floor(column / blockValues)) * blockBytes;
        codes[row * columns.count + i] = this.#block.codeAt(bytes, at, column % blockValues);
      }
    }
  }

  async readGroups(rows: Range): Promise<Groups> {
    const { buffer, byteOffset, byteLength } = await this.#readRows(rows);
    const view = new DataView(buffer, byteOffset, byteLength);
    const scales = Float32Array.from({ length: rows.count * this.#blocks }, (_, block) =>
      view.getFloat16(block * this.#block.blockBytes, true),
    );
    refuseOddScales(scales, this.#name);
    return { scales, zeros: new Uint8Array(scales.length).fill(2 ** (this.bits - 1)) };
  }

  async readOrder(): Promise<Int32Array> {
    return plainOrder(this.shape[1], this.groupSize);
  }

  /** Valid until the next are read. */
  async #readRows(rows: Range): Promise<Uint8Array<ArrayBuffer>> {
    const { checkpoint, buffer } = this.#source;
    const rowBytes = this.#blocks * this.#block.blockBytes;
    const bytes = new Uint8Array(buffer.take(rows.count * rowBytes), 0, rows.count * rowBytes);
    await checkpoint.read(this.#name, rows.first * rowBytes, bytes);
    return bytes;
  }
}
