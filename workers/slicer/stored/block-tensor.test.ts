/** Quantised blocks stand for the numbers that they were made of, wherever rows and columns are cut. */
import { describe, expect, it } from 'vitest';
import { blockTypes, makeRows } from '../../../test/fixtures/ggml-blocks.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { blockFormats } from '../gguf/blocks/block-formats.ts';
import { tensorTypes } from '../gguf/tensor-types.ts';
import type { StoredTensor } from '../safetensors.ts';
import { blockTensor } from './block-tensor.ts';
import { HeldTensors } from './held-tensors.ts';
import { readQuantisation } from './quantisation-config.ts';
import { type ReadableTensor, ReadBuffer } from './readable-tensor.ts';

type Stored = Pick<StoredTensor, 'dtype' | 'shape'>;

/** The tensor w of a checkpoint that has no other. */
function tensorOf(stored: Stored, bytes: Uint8Array): ReadableTensor | undefined {
  const read = async (_: string, offset: number, target: Uint8Array): Promise<void> => {
    target.set(bytes.subarray(offset, offset + target.length));
  };
  const tensor = (name: string) => (name === 'w' ? { name, ...stored, offset: 0, bytes: bytes.length } : undefined);
  const checkpoint = { read, tensor } as Partial<Checkpoint> as Checkpoint;
  const quantisation = readQuantisation({});
  const source = { checkpoint, quantisation, buffer: new ReadBuffer(), held: new HeldTensors(checkpoint) };
  return blockTensor(source, 'w');
}

/** Zeros have no sign here. */
function unsigned(values: Iterable<number>): readonly number[] {
  return Array.from(values, (value) => value + 0);
}

const rows = 5;

describe.each(blockTypes)('rows of $name', (type) => {
  const columns = 3 * type.blockValues;
  const { bytes, values } = makeRows(type, rows, columns, 7, 0.1);
  const tensor = tensorOf({ dtype: type.name, shape: [rows, columns] }, bytes)!;

  it('are what they were made of', async () => {
    const read = new Float32Array(rows * columns);
    await tensor.read({ first: 0, count: rows }, { first: 0, count: columns }, read);
    expect(unsigned(read)).toEqual(unsigned(values));
    expect(new Set(read).size).toBeGreaterThan(12);
  });

  it.each([
    ['within a block', 3, 5],
    ['over a border', type.blockValues - 2, 7],
    ['from a border on', type.blockValues, type.blockValues + 1],
    ['one', 2 * type.blockValues + 1, 1],
  ])('are the same in parts: columns %s', async (_, first, count) => {
    const read = new Float32Array(3 * count).fill(Number.NaN);
    await tensor.read({ first: 2, count: 3 }, { first, count }, read);
    const expected = [2, 3, 4].flatMap((row) => values.slice(row * columns + first, row * columns + first + count));
    expect(unsigned(read)).toEqual(unsigned(expected));
  });

  it('take as many bytes as the file says', () => {
    const known = tensorTypes.get(type.id);
    const format = blockFormats.get(type.name);
    expect(known).toEqual({ name: type.name, blockValues: format?.blockValues, blockBytes: format?.blockBytes });
    expect(bytes.length).toBe(((rows * columns) / type.blockValues) * format!.blockBytes);
  });
});

describe('tensors in blocks', () => {
  it('are all tried', () => {
    expect(blockTypes.map(({ name }) => name).sort()).toEqual([...blockFormats.keys()].sort());
  });

  it('have rows of whole blocks: a vector is a column and has none', () => {
    expect(tensorOf({ dtype: 'Q8_0', shape: [64] }, new Uint8Array(68))).toBeUndefined();
  });
});
