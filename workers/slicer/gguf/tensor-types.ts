/** Types of tensors that GGUF numbers, and what a block of each takes (ggml.h, ggml-common.h of llama.cpp). */

export interface TensorType {
  readonly name: string;
  /** Values of a row that are stored together. */
  readonly blockValues: number;
  readonly blockBytes: number;
}

const small = 32;
const large = 256;

type Row = readonly [id: number, name: string, blockValues: number, blockBytes: number];

/** Numbers that are missing were given up before GGUF, or have never been used in files. */
const rows: readonly Row[] = [
  [0, 'F32', 1, 4],
  [1, 'F16', 1, 2],
  [2, 'Q4_0', small, 18],
  [3, 'Q4_1', small, 20],
  [6, 'Q5_0', small, 22],
  [7, 'Q5_1', small, 24],
  [8, 'Q8_0', small, 34],
  [9, 'Q8_1', small, 36],
  [10, 'Q2_K', large, 84],
  [11, 'Q3_K', large, 110],
  [12, 'Q4_K', large, 144],
  [13, 'Q5_K', large, 176],
  [14, 'Q6_K', large, 210],
  [15, 'Q8_K', large, 292],
  [16, 'IQ2_XXS', large, 66],
  [17, 'IQ2_XS', large, 74],
  [18, 'IQ3_XXS', large, 98],
  [19, 'IQ1_S', large, 50],
  [20, 'IQ4_NL', small, 18],
  [21, 'IQ3_S', large, 110],
  [22, 'IQ2_S', large, 82],
  [23, 'IQ4_XS', large, 136],
  [24, 'I8', 1, 1],
  [25, 'I16', 1, 2],
  [26, 'I32', 1, 4],
  [27, 'I64', 1, 8],
  [28, 'F64', 1, 8],
  [29, 'IQ1_M', large, 56],
  [30, 'BF16', 1, 2],
  [34, 'TQ1_0', large, 54],
  [35, 'TQ2_0', large, 66],
  [39, 'MXFP4', small, 17],
  [40, 'NVFP4', 64, 36],
];

export const tensorTypes: ReadonlyMap<number, TensorType> = new Map(
  rows.map(([id, name, blockValues, blockBytes]) => [id, { name, blockValues, blockBytes }]),
);
