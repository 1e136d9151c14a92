/**
 * GPTQ in four bits (AutoGPTQ, GPTQModel): qweight [in/8, out] holds eight codes of a column a word, the first in the lowest bits;
 * qzeros one less than the zero points in version 1; g_idx [in] the group of each row of the stored matrix.
 */
import { integerTensor } from './integer-tensor.ts';
import { groupSizeOf } from './integers.ts';
import { requireWords } from './packed-tensor.ts';
import type { GptqSettings } from './quantisation-config.ts';
import type { ReadableTensor } from './readable-tensor.ts';
import { damaged } from './scales.ts';
import type { StoredSource } from './stored-source.ts';
import { type Packing, TransposedIntegers, transposedParts } from './transposed-integers.ts';

export function gptqTensor(source: StoredSource, name: string, settings: GptqSettings): ReadableTensor | undefined {
  const prefix = name.replace(/[.]weight$/, '');
  const codes = source.checkpoint.tensor(`${prefix}.qweight`);
  if (!codes) return undefined;
  const parts = transposedParts(source, codes, prefix);
  const [words = 0, out = 0] = codes.shape;
  requireWords(codes, [words, out]);
  const columns = words * 8;
  if (settings.actOrder && !parts.order) {
    throw damaged(
      `tensor ${codes.name} was quantised in the order of activations (desc_act), but ${prefix}.g_idx is not there`,
    );
  }
  const packing: Packing = {
    shape: [out, columns],
    groupSize: groupSizeOf(settings.group, columns),
    actOrder: settings.actOrder,
    wordOf: (row, column) => (column >> 3) * out + row,
    placeOf: (_, column) => column & 7,
    zeroPlaceOf: (row) => row & 7,
    zeroOffset: settings.zeroOffset,
  };
  const integers = new TransposedIntegers(source, parts, packing);
  const stored = Object.values(parts).flatMap((part) => part?.name ?? []);
  return integerTensor({ name, format: `GPTQ INT4 group ${integers.groupSize}`, stored }, integers);
}
