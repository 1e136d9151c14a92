import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { readHeader } from './safetensors.ts';

let folder: TemporaryFolder;
let file: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  file = path.join(folder.path, 'model.safetensors');
});

afterAll(() => folder[Symbol.asyncDispose]());

type Entry = readonly [dtype: string, shape: readonly number[], begin: number, end: number];

/** Writes a file with this header, unchecked, and so many bytes of data. */
async function write(header: unknown, dataBytes: number): Promise<void> {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = header instanceof Uint8Array ? header : Buffer.from(text);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  await writeFile(file, Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]));
}

function headerOf(entries: Readonly<Record<string, Entry>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, [dtype, shape, begin, end]]) => [
      name,
      { dtype, shape, data_offsets: [begin, end] },
    ]),
  );
}

async function read() {
  await using handle = await open(file);
  return await readHeader(handle, 'model.safetensors');
}

const good = headerOf({ b: ['BF16', [2, 3], 8, 20], a: ['F32', [2], 0, 8] });

describe('reading a safetensors header', () => {
  it('lists tensors in file order with their places', async () => {
    await write({ __metadata__: { format: 'pt' }, ...good }, 20);
    const dataStart = (await readFile(file)).length - 20;
    expect(await read()).toEqual([
      { name: 'a', dtype: 'F32', shape: [2], offset: dataStart, bytes: 8 },
      { name: 'b', dtype: 'BF16', shape: [2, 3], offset: dataStart + 8, bytes: 12 },
    ]);
  });

  it('reads scalars, empty tensors and files without tensors', async () => {
    await write(headerOf({ scalar: ['F32', [], 0, 4], empty: ['F32', [0, 5], 4, 4] }), 4);
    expect((await read()).map(({ name }) => name)).toEqual(['scalar', 'empty']);
    await write({}, 0);
    expect(await read()).toEqual([]);
  });

  it.each([0, 7, 8, 9, 40])('says that a file cut to %i bytes is truncated', async (bytes) => {
    await write(good, 20);
    await truncate(file, bytes);
    await expect(read()).rejects.toMatchObject({ code: 'TRUNCATED_FILE' });
  });

  it.each([1, 12, 13, 20])('says that a file without its last %i bytes is truncated', async (missing) => {
    await write(good, 20);
    await truncate(file, (await readFile(file)).length - missing);
    await expect(read()).rejects.toMatchObject({
      code: 'TRUNCATED_FILE',
      message: expect.stringContaining('model.safetensors'),
    });
  });

  const lies: readonly (readonly [string, unknown, number, RegExp])[] = [
    ['is no JSON', '{"a":', 0, /malformed.*JSON/],
    ['is no UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 0, /malformed: it is not UTF-8/],
    ['names a tensor twice', '{"a": {}, "b": {}, "\\u0061": {}}', 0, /the key "a" comes twice/],
    ['is a list', [], 0, /no object/],
    ['gives no dtype', { a: { shape: [1], data_offsets: [0, 4] } }, 4, /a has no dtype/],
    ['gives no shape', { a: { dtype: 'F32', data_offsets: [0, 4] } }, 4, /a has no shape/],
    ['gives a negative size', headerOf({ a: ['F32', [-1], 0, 4] }), 4, /a has no shape/],
    ['gives no offsets', { a: { dtype: 'F32', shape: [1] } }, 4, /a has no range/],
    ['gives a null entry', { a: null }, 4, /a has no dtype/],
    ['gives offsets that run backwards', headerOf({ a: ['F32', [1], 4, 0] }), 4, /a has no range/],
    ['gives a fractional offset', headerOf({ a: ['F32', [1], 0.5, 4.5] }), 5, /a has no range/],
    ['gives fewer bytes than the shape takes', headerOf({ a: ['F32', [2], 0, 4] }), 4, /takes 8/],
    ['gives more bytes than the shape takes', headerOf({ a: ['BF16', [1], 0, 4] }), 4, /takes 2/],
    ['makes tensors overlap', headerOf({ a: ['F32', [2], 0, 8], b: ['F32', [1], 4, 8] }), 8, /b overlaps/],
    ['makes tensors share their bytes', headerOf({ a: ['F32', [1], 0, 4], b: ['F32', [1], 0, 4] }), 4, /overlaps/],
    ['leaves a gap', headerOf({ a: ['F32', [1], 0, 4], b: ['F32', [1], 8, 12] }), 12, /gap before tensor b/],
    ['leaves bytes at the end', headerOf({ a: ['F32', [1], 0, 4] }), 5, /1 bytes follow/],
  ];

  it.each(lies)('refuses a header that %s', async (_, header, dataBytes, message) => {
    await write(header, dataBytes);
    await expect(read()).rejects.toMatchObject({ code: 'INVALID_CHECKPOINT', message: expect.stringMatching(message) });
  });

  it('refuses a header that is longer than the format allows, without reading it', async () => {
    const prefix = Buffer.alloc(16);
    prefix.writeBigUInt64LE(2n ** 60n);
    await writeFile(file, prefix);
    await expect(read()).rejects.toMatchObject({ code: 'INVALID_CHECKPOINT' });
  });
});
