/**
 * Blocks of 256 values (ggml-common.h and ggml-quants.c of llama.cpp): one scale in half precision, and for parts of 16 or 32 values
 * a scale of few bits each, in some a smallest value as well.
 */
import type { BlockFormat } from './block-format.ts';
import { unevenSteps } from './small-blocks.ts';

const blockValues = 256;

export const q2k: BlockFormat = {
  blockValues,
  blockBytes: 84,
  decode(view, at, values, out) {
    const [scale, leastScale] = [view.getFloat16(at + 80, true), view.getFloat16(at + 82, true)];
    for (let i = 0; i < blockValues; i++) {
      const part = view.getUint8(at + (i >> 4));
      const value = (view.getUint8(at + 16 + byteOfPair(i)) >> shiftOfPair(i)) & 3;
      values[out + i] = scale * (part & 15) * value - leastScale * (part >> 4);
    }
  },
};

/** Two bits a value: of each 128 values four lie in a byte, 32 apart. */
function byteOfPair(index: number): number {
  return (index >> 7) * 32 + (index & 31);
}

function shiftOfPair(index: number): number {
  return ((index >> 5) & 3) * 2;
}

export const q3k: BlockFormat = {
  blockValues,
  blockBytes: 110,
  decode(view, at, values, out) {
    const scale = view.getFloat16(at + 108, true);
    for (let i = 0; i < blockValues; i++) {
      const low = (view.getUint8(at + 32 + byteOfPair(i)) >> shiftOfPair(i)) & 3;
      const third = (view.getUint8(at + (i & 31)) >> (i >> 5)) & 1;
      values[out + i] = scale * (sixBitsOfSixteen(view, at + 96, i >> 4) - 32) * (low + third * 4 - 4);
    }
  },
};

/** Sixteen numbers of six bits in twelve bytes: four bits each in the first eight, two each in the last four. */
function sixBitsOfSixteen(view: DataView, at: number, index: number): number {
  const low = (view.getUint8(at + (index & 7)) >> (index < 8 ? 0 : 4)) & 15;
  const high = (view.getUint8(at + 8 + (index & 3)) >> ((index >> 2) * 2)) & 3;
  return low | (high << 4);
}

/** Eight scales and eight smallest values of six bits in twelve bytes: those from the fifth on have their high bits in the first eight. */
function scaleAndLeast(view: DataView, at: number, index: number): readonly [scale: number, least: number] {
  const byte = (offset: number): number => view.getUint8(at + offset);
  if (index < 4) return [byte(index) & 63, byte(index + 4) & 63];
  const low = byte(index + 4);
  return [(low & 15) | ((byte(index - 4) >> 6) << 4), (low >> 4) | ((byte(index) >> 6) << 4)];
}

/** Four bits a value: of each 64 values two lie in a byte, 32 apart. */
function nibbleOf(view: DataView, at: number, index: number): number {
  return (view.getUint8(at + (index >> 6) * 32 + (index & 31)) >> (((index >> 5) & 1) * 4)) & 15;
}

export const q4k: BlockFormat = {
  blockValues,
  blockBytes: 144,
  decode(view, at, values, out) {
    const [scale, leastScale] = [view.getFloat16(at, true), view.getFloat16(at + 2, true)];
    for (let part = 0; part < 8; part++) {
      const [partScale, partLeast] = scaleAndLeast(view, at + 4, part);
      for (let i = part * 32; i < part * 32 + 32; i++) {
        values[out + i] = scale * partScale * nibbleOf(view, at + 16, i) - leastScale * partLeast;
      }
    }
  },
};

export const q5k: BlockFormat = {
  blockValues,
  blockBytes: 176,
  decode(view, at, values, out) {
    const [scale, leastScale] = [view.getFloat16(at, true), view.getFloat16(at + 2, true)];
    for (let part = 0; part < 8; part++) {
      const [partScale, partLeast] = scaleAndLeast(view, at + 4, part);
      for (let i = part * 32; i < part * 32 + 32; i++) {
        const fifth = (view.getUint8(at + 16 + (i & 31)) >> part) & 1;
        const value = nibbleOf(view, at + 48, i) + fifth * 16;
        values[out + i] = scale * partScale * value - leastScale * partLeast;
      }
    }
  },
};

export const q6k: BlockFormat = {
  blockValues,
  blockBytes: 210,
  decode(view, at, values, out) {
    const scale = view.getFloat16(at + 208, true);
    for (let i = 0; i < blockValues; i++) {
      const within = i & 127;
      const lowByte = view.getUint8(at + (i >> 7) * 64 + (within & 63));
      const low = within < 64 ? lowByte & 15 : lowByte >> 4;
      const high = (view.getUint8(at + 128 + byteOfPair(i)) >> shiftOfPair(i)) & 3;
      values[out + i] = scale * view.getInt8(at + 192 + (i >> 4)) * ((low | (high << 4)) - 32);
    }
  },
};

export const iq4xs: BlockFormat = {
  blockValues,
  blockBytes: 136,
  decode(view, at, values, out) {
    const [scale, highBits] = [view.getFloat16(at, true), view.getUint16(at + 2, true)];
    for (let part = 0; part < 8; part++) {
      const low = (view.getUint8(at + 4 + (part >> 1)) >> ((part & 1) * 4)) & 15;
      const partScale = scale * ((low | (((highBits >> (2 * part)) & 3) << 4)) - 32);
      for (let i = 0; i < 16; i++) {
        const byte = view.getUint8(at + 8 + part * 16 + i);
        values[out + part * 32 + i] = partScale * unevenSteps[byte & 15]!;
        values[out + part * 32 + 16 + i] = partScale * unevenSteps[byte >> 4]!;
      }
    }
  },
};
