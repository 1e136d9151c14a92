/** Q4_0 of GGUF files: symmetric integers of four bits in groups of 32, so that packages can keep them. */
import type { Range } from '../../models/shard.ts';
import { q40 } from '../gguf/blocks/small-blocks.ts';
import type { StoredTensor } from '../safetensors.ts';
import { type Groups, middleCode, plainOrder, type StoredIntegers } from './integers.ts';
import { halfOf } from './packed-tensor.ts';
import { asMatrix } from './readable-tensor.ts';
import { refuseOddScales } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

const { blockValues, blockBytes } = q40;
/** The scale comes first. */
const scaleBytes = 2;

export class BlockIntegers implements StoredIntegers {
  readonly shape: readonly [number, number];
  readonly groupSize = blockValues;
  readonly hasZeros = false;
  readonly actOrder = false;
  readonly #source: StoredSource;
  readonly #name: string;
  readonly #blocks: number;

  constructor(source: StoredSource, { name, shape }: StoredTensor) {
    const { rows, columns } = asMatrix(shape);
    this.shape = [rows, columns];
    this.#source = source;
    this.#name = name;
    this.#blocks = columns / blockValues;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    const bytes = await this.#readRows(rows);
    const half = blockValues / 2;
    for (let row = 0; row < rows.count; row++) {
      for (let i = 0; i < columns.count; i++) {
        const column = columns.first + i;
        const block = row * this.#blocks + Math.floor(column / blockValues);
        const within = column % blockValues;
        const byte = bytes[block * blockBytes + scaleBytes + (within % half)]!;
        codes[row * columns.count + i] = halfOf(byte, within < half ? 0 : 1);
      }
    }
  }

  async readGroups(rows: Range): Promise<Groups> {
    const bytes = await this.#readRows(rows);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const scales = Float32Array.from({ length: rows.count * this.#blocks }, (_, block) =>
      view.getFloat16(block * blockBytes, true),
    );
    refuseOddScales(scales, this.#name);
    return { scales, zeros: new Uint8Array(scales.length).fill(middleCode) };
  }

  async readOrder(): Promise<Int32Array> {
    return plainOrder(this.shape[1], this.groupSize);
  }

  /** Valid until the next are read. */
  async #readRows(rows: Range): Promise<Uint8Array<ArrayBuffer>> {
    const { checkpoint, buffer } = this.#source;
    const rowBytes = this.#blocks * blockBytes;
    const bytes = new Uint8Array(buffer.take(rows.count * rowBytes), 0, rows.count * rowBytes);
    await checkpoint.read(this.#name, rows.first * rowBytes, bytes);
    return bytes;
  }
}
