/**
 * AWQ in four bits as AutoAWQ's gemm kernels read it: qweight [in, out/8] holds eight codes of a stored row a word, zero points in the
 * same way; columns of a word in the order 0, 2, 4, 6, 1, 3, 5, 7.
 */
import { integerTensor } from './integer-tensor.ts';
import { groupSizeOf } from './integers.ts';
import { requireWords } from './packed-tensor.ts';
import type { GroupSize } from './quantisation-config.ts';
import type { ReadableTensor } from './readable-tensor.ts';
import type { StoredSource } from './stored-source.ts';
import { type Packing, TransposedIntegers, transposedParts } from './transposed-integers.ts';

/** The place of each output in its word. */
const places = [0, 4, 1, 5, 2, 6, 3, 7];

export function awqTensor(source: StoredSource, name: string, group: GroupSize): ReadableTensor | undefined {
  const prefix = name.replace(/[.]weight$/, '');
  const codes = source.checkpoint.tensor(`${prefix}.qweight`);
  if (!codes) return undefined;
  const parts = transposedParts(source, codes, prefix);
  const [columns = 0, words = 0] = codes.shape;
  requireWords(codes, [columns, words]);
  const placeOf = (row: number): number => places[row & 7]!;
  const packing: Packing = {
    shape: [words * 8, columns],
    groupSize: groupSizeOf(group, columns),
    actOrder: false,
    wordOf: (row, column) => column * words + (row >> 3),
    placeOf,
    zeroPlaceOf: placeOf,
    zeroOffset: 0,
  };
  const integers = new TransposedIntegers(source, parts, packing);
  const stored = Object.values(parts).flatMap((part) => part?.name ?? []);
  return integerTensor({ name, format: `AWQ INT4 group ${integers.groupSize}`, stored }, integers);
}
