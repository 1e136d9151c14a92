/**
 * What latent attention multiplies its latent by, which GGUF files hold in two tensors: of each head the key's part [latent, key],
 * transposed, and the value's [value, latent]. Here it is one again: of each head the rows of its key, then those of its value.
 */
import type { Range } from '../../models/shard.ts';
import type { ReadableTensor } from './readable-tensor.ts';

/** `name` is attn_kv_b of a layer, and `find` has its parts. */
export function latentUpTensor(
  name: string,
  find: (name: string) => ReadableTensor | undefined,
): ReadableTensor | undefined {
  const prefix = /^(blk[.]\d+[.]attn_)kv_b[.]weight$/.exec(name)?.[1];
  if (prefix === undefined) return undefined;
  const [keys, values] = [find(`${prefix}k_b.weight`), find(`${prefix}v_b.weight`)];
  return keys && values && fits(keys, values) ? joined(name, keys, values) : undefined;
}

function fits(keys: ReadableTensor, values: ReadableTensor): boolean {
  const [heads, latent] = keys.shape;
  return (
    keys.shape.length === 3 && values.shape.length === 3 && values.shape[0] === heads && values.shape[2] === latent
  );
}

function joined(name: string, keys: ReadableTensor, values: ReadableTensor): ReadableTensor {
  const [heads = 0, latent = 0, keyDim = 0] = keys.shape;
  const valueDim = values.shape[1] ?? 0;
  const headRows = keyDim + valueDim;
  return {
    name,
    shape: [heads * headRows, latent],
    format: [...new Set([keys.format, values.format])].join(', '),
    stored: [...keys.stored, ...values.stored],
    // A row of a key lies across: each of its values takes a row of the stored tensor.
    rowBytes: Math.max(values.rowBytes, Math.ceil((latent * keys.rowBytes) / keyDim)),
    async read(rows, columns, target) {
      for (let done = 0; done < rows.count; ) {
        const row = rows.first + done;
        const [head, within] = [Math.floor(row / headRows), row % headRows];
        const isKey = within < keyDim;
        const count = Math.min(rows.count - done, (isKey ? keyDim : headRows) - within);
        const part = target.subarray(done * columns.count, (done + count) * columns.count);
        if (isKey) await readAcross(keys, head * latent, { first: within, count }, columns, part);
        else await values.read({ first: head * valueDim + within - keyDim, count }, columns, part);
        done += count;
      }
    },
  };
}

/** Rows of the target are columns of what is stored from row `start` on. */
async function readAcross(
  keys: ReadableTensor,
  start: number,
  rows: Range,
  columns: Range,
  target: Float32Array,
): Promise<void> {
  const stored = new Float32Array(columns.count * rows.count);
  await keys.read({ first: start + columns.first, count: columns.count }, rows, stored);
  for (let row = 0; row < rows.count; row++) {
    for (let column = 0; column < columns.count; column++) {
      target[row * columns.count + column] = stored[column * rows.count + row]!;
    }
  }
}
