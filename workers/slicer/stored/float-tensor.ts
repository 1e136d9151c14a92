/** Tensors stored as they are: float32, float16, bfloat16. */
import { floatBytes, isFloatType, widen } from '../widen.ts';
import { asMatrix, type ReadableTensor } from './readable-tensor.ts';
import type { StoredSource } from './stored-source.ts';

export function floatTensor({ checkpoint, buffer }: StoredSource, name: string): ReadableTensor | undefined {
  const stored = checkpoint.tensor(name);
  if (!stored || !isFloatType(stored.dtype)) return undefined;
  const { shape, dtype } = stored;
  const { columns: width } = asMatrix(shape);
  const rowBytes = width * floatBytes[dtype];
  return {
    name,
    shape,
    format: dtype,
    stored: [name],
    rowBytes,
    async read(rows, columns, values) {
      const raw = buffer.take(rows.count * rowBytes);
      await checkpoint.read(name, rows.first * rowBytes, new Uint8Array(raw, 0, rows.count * rowBytes));
      if (columns.count === width) return widen(dtype, raw, 0, rows.count * width, values, 0);
      for (let row = 0; row < rows.count; row++) {
        widen(dtype, raw, row * width + columns.first, columns.count, values, row * columns.count);
      }
    },
  };
}
