/** Blocks of 32 values (ggml-common.h of llama.cpp): one scale, and a smallest value or none. */
import type { BlockFormat } from './block-format.ts';

const blockValues = 32;
const half = blockValues / 2;

/** Bytes of two halves: value i is in the low half of byte i, value 16 + i in the high one. */
function eachNibble(view: DataView, at: number, take: (index: number, nibble: number) => void): void {
  for (let i = 0; i < half; i++) {
    const byte = view.getUint8(at + i);
    take(i, byte & 15);
    take(half + i, byte >> 4);
  }
}

export const q40: BlockFormat = {
  blockValues,
  blockBytes: 18,
  decode(view, at, values, out) {
    const scale = view.getFloat16(at, true);
    eachNibble(view, at + 2, (i, nibble) => {
      values[out + i] = (nibble - 8) * scale;
    });
  },
};

export const q41: BlockFormat = {
  blockValues,
  blockBytes: 20,
  decode(view, at, values, out) {
    const [scale, least] = [view.getFloat16(at, true), view.getFloat16(at + 2, true)];
    eachNibble(view, at + 4, (i, nibble) => {
      values[out + i] = nibble * scale + least;
    });
  },
};

/** The fifth bits of all values are in one word, that of value i at bit i. */
export const q50: BlockFormat = {
  blockValues,
  blockBytes: 22,
  decode(view, at, values, out) {
    const [scale, fifth] = [view.getFloat16(at, true), view.getUint32(at + 2, true)];
    eachNibble(view, at + 6, (i, nibble) => {
      values[out + i] = (nibble + ((fifth >>> i) & 1) * 16 - 16) * scale;
    });
  },
};

export const q51: BlockFormat = {
  blockValues,
  blockBytes: 24,
  decode(view, at, values, out) {
    const [scale, least] = [view.getFloat16(at, true), view.getFloat16(at + 2, true)];
    const fifth = view.getUint32(at + 4, true);
    eachNibble(view, at + 8, (i, nibble) => {
      values[out + i] = (nibble + ((fifth >>> i) & 1) * 16) * scale + least;
    });
  },
};

export const q80: BlockFormat = {
  blockValues,
  blockBytes: 34,
  decode(view, at, values, out) {
    const scale = view.getFloat16(at, true);
    for (let i = 0; i < blockValues; i++) values[out + i] = view.getInt8(at + 2 + i) * scale;
  },
};

/** What a nibble stands for where steps are finer near zero. */
export const unevenSteps = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

export const iq4nl: BlockFormat = {
  blockValues,
  blockBytes: 18,
  decode(view, at, values, out) {
    const scale = view.getFloat16(at, true);
    eachNibble(view, at + 2, (i, nibble) => {
      values[out + i] = unevenSteps[nibble]! * scale;
    });
  },
};

/** Four-bit floats, doubled: with 2 bits of exponent and one of mantissa (Open Compute Project, Microscaling Formats 1.0). */
const doubledFloats = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** The scale is a power of two, of which the exponent is stored. */
export const mxfp4: BlockFormat = {
  blockValues,
  blockBytes: 17,
  decode(view, at, values, out) {
    const halfScale = 2 ** (view.getUint8(at) - 128);
    eachNibble(view, at + 1, (i, nibble) => {
      values[out + i] = doubledFloats[nibble]! * halfScale;
    });
  },
};
