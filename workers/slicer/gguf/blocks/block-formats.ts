/** The quantised types of GGUF that are read, by name. */
import type { BlockFormat } from './block-format.ts';
import { iq4xs, q2k, q3k, q4k, q5k, q6k } from './large-blocks.ts';
import { iq4nl, mxfp4, q40, q41, q50, q51, q80 } from './small-blocks.ts';

export const blockFormats: ReadonlyMap<string, BlockFormat> = new Map([
  ['Q4_0', q40],
  ['Q4_1', q41],
  ['Q5_0', q50],
  ['Q5_1', q51],
  ['Q8_0', q80],
  ['Q2_K', q2k],
  ['Q3_K', q3k],
  ['Q4_K', q4k],
  ['Q5_K', q5k],
  ['Q6_K', q6k],
  ['IQ4_NL', iq4nl],
  ['IQ4_XS', iq4xs],
  ['MXFP4', mxfp4],
]);
