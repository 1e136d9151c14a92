/** Tensors of a GGUF file whose rows are quantised in blocks. */
import type { Range } from '../../models/shard.ts';
import type { BlockFormat } from '../gguf/blocks/block-format.ts';
import { blockFormats } from '../gguf/blocks/block-formats.ts';
import { integersOf } from './block-integers.ts';
import { asMatrix, type ReadableTensor } from './readable-tensor.ts';
import type { StoredSource } from './stored-source.ts';

export function blockTensor(source: StoredSource, name: string): ReadableTensor | undefined {
  const { checkpoint, buffer } = source;
  const stored = checkpoint.tensor(name);
  const format = stored && blockFormats.get(stored.dtype);
  if (!format) return undefined;
  const { shape, dtype } = stored;
  const { columns: width } = asMatrix(shape);
  if (width % format.blockValues !== 0) return undefined;
  const rowBytes = (width / format.blockValues) * format.blockBytes;
  return {
    name,
    shape,
    format: dtype,
    stored: [name],
    rowBytes,
    scaleBlock: { rows: 1, columns: format.blockValues },
    ...integersOf(source, stored),
    async read(rows, columns, values) {
      const raw = buffer.take(rows.count * rowBytes);
      await checkpoint.read(name, rows.first * rowBytes, new Uint8Array(raw, 0, rows.count * rowBytes));
      for (let row = 0; row < rows.count; row++) {
        decodeRow(format, new DataView(raw, row * rowBytes, rowBytes), columns, values, row * columns.count);
      }
    },
  };
}

/** Writes these columns of a row to `values` from `out` on. */
function decodeRow(format: BlockFormat, row: DataView, columns: Range, values: Float32Array, out: number): void {
  const { blockValues, blockBytes } = format;
  const end = columns.first + columns.count;
  const whole = new Float32Array(blockValues);
  for (let start = columns.first - (columns.first % blockValues); start < end; start += blockValues) {
    const at = (start / blockValues) * blockBytes;
    const place = out + start - columns.first;
    if (start >= columns.first && start + blockValues <= end) {
      format.decode(row, at, values, place);
      continue;
    }
    format.decode(row, at, whole, 0);
    const [from, to] = [Math.max(columns.first - start, 0), Math.min(end - start, blockValues)];
    values.set(whole.subarray(from, to), place + from);
  }
}
