import { open, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeGguf,
  f32,
  f64,
  flag,
  flags,
  floats,
  type GgufContents,
  type GgufTensor,
  i32,
  integers,
  listOf,
  lists,
  text,
  texts,
  u16,
  u32,
  u64,
} from '../../../test/fixtures/gguf-writer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/fixtures/tiny-checkpoint.ts';
import { readGgufHeader } from './header.ts';

let folder: TemporaryFolder;
let file: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  file = path.join(folder.path, 'model.gguf');
});

afterAll(() => folder[Symbol.asyncDispose]());

async function read() {
  await using handle = await open(file);
  return await readGgufHeader(handle, 'model.gguf');
}

async function write(contents: Partial<GgufContents>): Promise<Buffer> {
  const bytes = encodeGguf({ metadata: [], tensors: [], ...contents });
  await writeFile(file, bytes);
  return bytes;
}

const F32 = 0;
const Q8_0 = 8;

function tensor(name: string, shape: readonly number[], type = F32, more: Partial<GgufTensor> = {}): GgufTensor {
  const values = shape.reduce((product, size) => product * size, 1);
  return {
    name,
    shape,
    type,
    bytes: more.bytes ?? new Uint8Array(type === F32 ? values * 4 : (values / 32) * 34),
    ...more,
  };
}

const good: Partial<GgufContents> = {
  metadata: [
    ['general.architecture', text('llama')],
    ['llama.block_count', u32(2)],
  ],
  tensors: [tensor('a', [3]), tensor('b', [2, 64], Q8_0), tensor('c', [2, 3, 4])],
};

describe('reading a GGUF header', () => {
  it.each([2, 3])('lists tensors of version %i with their places', async (version) => {
    const bytes = await write({ ...good, version });
    const header = await read();
    const start = bytes.length - 32 - 160 - 96;
    expect(header.tensors).toEqual([
      { name: 'a', dtype: 'F32', shape: [3], offset: start, bytes: 12 },
      { name: 'b', dtype: 'Q8_0', shape: [2, 64], offset: start + 32, bytes: 136 },
      { name: 'c', dtype: 'F32', shape: [2, 3, 4], offset: start + 32 + 160, bytes: 96 },
    ]);
    expect(start % 32).toBe(0);
  });

  it('reads every kind of value', async () => {
    const metadata = {
      u16: u16(65_535),
      u32: u32(4_294_967_295),
      i32: i32(-7),
      f32: f32(1e-6),
      f64: f64(0.1),
      yes: flag(true),
      no: flag(false),
      text: text('größer'),
      u64: u64(12n),
      large: u64(2n ** 64n - 1n),
      texts: texts(['', 'a', '語']),
      floats: floats([-1.5, 1e-5]),
      integers: integers([1, -2]),
      flags: flags([true, false]),
    };
    await write({ metadata: Object.entries(metadata) });
    expect(Object.fromEntries((await read()).metadata)).toEqual({
      u16: 65_535,
      u32: 4_294_967_295,
      i32: -7,
      f32: 1e-6,
      f64: 0.1,
      yes: true,
      no: false,
      text: 'größer',
      u64: 12,
      large: 2n ** 64n - 1n,
      texts: ['', 'a', '語'],
      floats: [-1.5, 1e-5],
      integers: [1, -2],
      flags: [true, false],
    });
  });

  it('reads a header that is longer than what is read at first', async () => {
    const tokens = Array.from({ length: 150_000 }, (_, i) => `token number ${i} of many`);
    await write({ ...good, metadata: [['tokenizer.ggml.tokens', texts(tokens)]] });
    const header = await read();
    expect(header.metadata.get('tokenizer.ggml.tokens')).toEqual(tokens);
    expect(header.tensors).toHaveLength(3);
  });

  it('honours another alignment', async () => {
    await write({ ...good, metadata: [['general.alignment', u32(256)]], alignment: 256 });
    const offsets = (await read()).tensors.map(({ offset }) => offset % 256);
    expect(offsets).toEqual([0, 0, 0]);
  });

  it('reads a last tensor that nothing pads, and a file without tensors', async () => {
    const bytes = await write({ tensors: [tensor('a', [3])] });
    await truncate(file, bytes.length - 20);
    expect((await read()).tensors).toHaveLength(1);
    await write({});
    expect((await read()).tensors).toEqual([]);
  });
});

describe('a GGUF file that is cut', () => {
  it('is said to end early, wherever that is', async () => {
    const bytes = await write(good);
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(file, bytes.subarray(0, length));
      await expect(read(), `${length} bytes`).rejects.toMatchObject({
        code: 'TRUNCATED_FILE',
        message: expect.stringContaining('model.gguf ends early'),
      });
    }
  });
});

describe('reading a GGUF header refuses', () => {
  const rejected = async (code: string, message: RegExp): Promise<void> => {
    await expect(read()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  };

  it('a file of another format', async () => {
    await writeFile(file, 'PK\u0003\u0004 and so on');
    await rejected('NOT_A_CHECKPOINT', /model.gguf is no GGUF file/);
  });

  it.each([0, 1, 4, 99])('version %i', async (version) => {
    await write({ ...good, version });
    await rejected('INVALID_CHECKPOINT', new RegExp(`version ${version} of GGUF.*supported: little-endian 2, 3`));
  });

  it('the bytes of a big-endian machine', async () => {
    const bytes = await write(good);
    bytes.writeUInt32BE(3, 4);
    await writeFile(file, bytes);
    await rejected('INVALID_CHECKPOINT', /big-endian/);
  });

  const key = 'some.key';
  const wrong: readonly (readonly [string, Partial<GgufContents>, RegExp])[] = [
    [
      'a key twice',
      {
        metadata: [
          [key, u32(1)],
          [key, u32(1)],
        ],
      },
      /the key some.key comes twice/,
    ],
    ['an empty key', { metadata: [['', u32(1)]] }, /key 0 of the metadata has 0 letters/],
    ['a text that is no UTF-8', { metadata: [[key, text(Uint8Array.of(0xff, 0xfe))]] }, /some.key is not UTF-8/],
    ['a value of unknown type', { metadata: [[key, { type: 13, bytes: Buffer.alloc(8) }]] }, /of type number 13/],
    ['a list of an unknown type', { metadata: [[key, listOf(77)]] }, /of type number 77/],
    ['a list of lists', { metadata: [[key, lists()]] }, /some.key is a list of lists/],
    ['an odd alignment', { metadata: [['general.alignment', u32(48)]] }, /general.alignment is 48/],
    ['no alignment', { metadata: [['general.alignment', u32(0)]] }, /general.alignment is 0/],
    ['an alignment that is a text', { metadata: [['general.alignment', text('32')]] }, /general.alignment is 32/],
    ['a tensor twice', { tensors: [tensor('a', [3]), tensor('a', [3])] }, /tensor a comes twice/],
    ['a tensor without a name', { tensors: [tensor('', [3])] }, /name of tensor 0 has 0 letters/],
    ['a tensor with a long name', { tensors: [tensor('a'.repeat(65), [3])] }, /name of tensor 0 has 65 letters/],
    ['a tensor without dimensions', { tensors: [tensor('a', [])] }, /tensor a has 0 dimensions/],
    ['a tensor of five dimensions', { tensors: [tensor('a', [1, 1, 1, 1, 3])] }, /tensor a has 5 dimensions/],
    ['an empty tensor', { tensors: [tensor('a', [3, 0])] }, /tensor a has the shape \[3,0\]/],
    [
      'a tensor larger than any',
      { tensors: [tensor('a', [2 ** 40, 2 ** 40], F32, { bytes: new Uint8Array() })] },
      /has the shape/,
    ],
    ['a tensor of unknown type', { tensors: [tensor('a', [3], 36)] }, /tensor a has type number 36/],
    [
      'rows of broken blocks',
      { tensors: [tensor('a', [2, 48], Q8_0)] },
      /rows of 48 values, Q8_0 comes in blocks of 32/,
    ],
    [
      'a tensor that is not aligned',
      { tensors: [tensor('a', [3], F32, { offset: 4 })] },
      /a is not aligned to 32 bytes/,
    ],
    ['tensors that overlap', { tensors: [tensor('a', [16]), tensor('b', [3], F32, { offset: 32 })] }, /b overlaps/],
    ['tensors that share bytes', { tensors: [tensor('a', [3]), tensor('b', [3], F32, { offset: 0 })] }, /b overlaps/],
    [
      'a gap',
      { tensors: [tensor('a', [3]), tensor('b', [3], F32, { offset: 64 })], trailing: 64 },
      /gap before tensor b/,
    ],
    ['a gap at the start', { tensors: [tensor('a', [3], F32, { offset: 32 })], trailing: 32 }, /gap before tensor a/],
    ['bytes at the end', { tensors: [tensor('a', [16])], trailing: 1 }, /1 bytes follow the last tensor/],
  ];

  it.each(wrong)('%s', async (_, contents, message) => {
    await write(contents);
    await rejected('INVALID_CHECKPOINT', message);
  });

  const short: readonly (readonly [string, Partial<GgufContents>, RegExp])[] = [
    ['more tensors than fit', { ...good, tensorCount: 10n ** 12n }, /the number of tensors is 1000000000000/],
    ['more metadata than fit', { ...good, metadataCount: 2n ** 63n }, /the number of metadata is/],
    ['a list longer than the file', { metadata: [[key, integers([1], 10n ** 15n)]] }, /the length of some.key is/],
    ['a tensor beyond the end', { tensors: [tensor('a', [64], F32, { bytes: new Uint8Array(64) })] }, /a goes to byte/],
  ];

  it.each(short)('%s', async (_, contents, message) => {
    await write(contents);
    await rejected('TRUNCATED_FILE', message);
  });

  it('a header that never ends, before it fills the memory', async () => {
    const bytes = await write({ metadata: [[key, { type: 8, bytes: Buffer.alloc(8) }]] });
    bytes.writeBigUInt64LE(300n << 20n, bytes.indexOf(key) + key.length + 4);
    await writeFile(file, bytes);
    await truncate(file, 2 ** 40);
    await rejected('INVALID_CHECKPOINT', /a header of more than 268435456 bytes/);
  });
});
