/** A matrix of integers, read as the numbers that they mean. */
import { assert } from '#platform/assert.ts';
import { groupCount, type StoredIntegers } from './integers.ts';
import type { ReadableTensor } from './readable-tensor.ts';

export function integerTensor(
  named: Pick<ReadableTensor, 'name' | 'format' | 'stored'>,
  integers: StoredIntegers,
): ReadableTensor {
  const { shape, groupSize, actOrder } = integers;
  const hasNeighbours = !actOrder && groupSize < shape[1];
  let codes = new Uint8Array(0);
  return {
    ...named,
    shape,
    integers,
    rowsAreOutputs: true,
    ...(hasNeighbours ? { scaleBlock: { rows: 1, columns: groupSize } } : {}),
    rowBytes: shape[1] / 2,
    async read(rows, columns, values) {
      if (codes.length < rows.count * columns.count) codes = new Uint8Array(rows.count * columns.count);
      await integers.readCodes(rows, columns, codes);
      const { scales, zeros } = await integers.readGroups(rows);
      const order = await integers.readOrder();
      const groups = groupCount(integers);
      assert(values.length >= rows.count * columns.count, 'the values have room');
      for (let row = 0; row < rows.count; row++) {
        for (let i = 0; i < columns.count; i++) {
          const group = row * groups + order[columns.first + i]!;
          const at = row * columns.count + i;
          values[at] = (codes[at]! - zeros[group]!) * scales[group]!;
        }
      }
    },
  };
}
