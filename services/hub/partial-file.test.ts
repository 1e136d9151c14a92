import { open, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { PartialFile } from './partial-file.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;
let place: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  file = path.join(folder.path, 'x.incomplete');
  place = path.join(folder.path, 'x');
});

afterEach(() => folder[Symbol.asyncDispose]());

const seed = Number(process.env.HUB_SEED ?? Date.now() % 2 ** 31);
const content = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + 7) % 251);

test(`parts grow in any order over any number of openings, and give the content (HUB_SEED=${seed})`, async () => {
  const growth = fc.record({ part: fc.nat(), bytes: fc.nat({ max: 40 }), reopens: fc.boolean() });
  const sizes = fc.record({ bytes: fc.nat({ max: 200 }), partBytes: fc.integer({ min: 1, max: 60 }) });
  await fc.assert(
    fc.asyncProperty(sizes, fc.array(growth, { maxLength: 30 }), async ({ bytes, partBytes }, growths) => {
      const whole = content(bytes);
      let partial = await PartialFile.open(file, bytes, partBytes);
      const grow = async (index: number, count: number): Promise<void> => {
        const { begin, end, done } = partial.parts[index]!;
        await partial.append(partial.parts[index]!, whole.subarray(begin + done, Math.min(end, begin + done + count)));
      };
      for (const { part, bytes: count, reopens } of growths) {
        if (partial.parts.length > 0) await grow(part % partial.parts.length, count);
        if (!reopens) continue;
        const before = structuredClone(partial.parts);
        await partial[Symbol.asyncDispose]();
        // Another size of parts was chosen meanwhile: those of the file go on.
        partial = await PartialFile.open(file, bytes, partBytes + 1);
        expect(partial.parts).toEqual(before);
      }
      for (const { index } of partial.parts) await grow(index, partBytes);
      expect(partial.doneBytes).toBe(bytes);
      await partial.publish(place);
      await partial[Symbol.asyncDispose]();
      expect(new Uint8Array(await readFile(place))).toEqual(whole);
      expect(await readdir(folder.path)).toEqual(['x']);
    }),
    { seed, numRuns: 60 },
  );
});

async function startedFile(): Promise<void> {
  await using partial = await PartialFile.open(file, 100, 30);
  await partial.append(partial.parts[0]!, content(30));
  await partial.append(partial.parts[1]!, content(30).subarray(0, 12));
}

test('it knows how far it is without a gap, and in all', async () => {
  await startedFile();
  await using partial = await PartialFile.open(file, 100, 30);
  expect(partial.prefixBytes).toBe(42);
  await partial.append(partial.parts[3]!, content(5));
  expect(partial.prefixBytes).toBe(42);
  expect(partial.doneBytes).toBe(47);
  await partial.reset(partial.parts[0]!);
  expect(partial.prefixBytes).toBe(0);
});

test('whatever is no partial file of this size is begun anew', async () => {
  const spoil: Record<string, () => Promise<void>> = {
    'not one of ours': () => writeFile(file, 'hello'),
    'cut anywhere': () => truncate(file, 107),
    'longer than it may be': () => truncate(file, 100 + 8 * 6),
    'far longer': () => truncate(file, 1 << 30),
    'no size of a part': () => overwrite(100, 0n),
    'more in a part than it holds': () => overwrite(108, 31n),
  };
  for (const [what, spoilIt] of Object.entries(spoil)) {
    await startedFile();
    await spoilIt();
    await using partial = await PartialFile.open(file, 100, 30);
    expect(partial.doneBytes, what).toBe(0);
    expect((await stat(file)).size, what).toBe(100 + 8 * 5);
  }
  await startedFile();
  await using partial = await PartialFile.open(file, 92, 30);
  expect(partial.doneBytes, 'of another size').toBe(0);
});

async function overwrite(position: number, value: bigint): Promise<void> {
  await using handle = await open(file, 'r+');
  const word = Buffer.alloc(8);
  word.writeBigUInt64LE(value);
  await handle.write(word, 0, 8, position);
}

test('a file whose trailer was cut off as it was published is whole', async () => {
  await writeFile(file, content(100));
  await using partial = await PartialFile.open(file, 100, 30);
  expect(partial.doneBytes).toBe(100);
  await partial.publish(place);
  expect(new Uint8Array(await readFile(place))).toEqual(content(100));
});

test('an incomplete file is never published, and a part never grows over its end', async () => {
  await startedFile();
  await using partial = await PartialFile.open(file, 100, 30);
  await expect(partial.publish(place)).rejects.toThrow(/incomplete/);
  await expect(partial.append(partial.parts[1]!, content(19))).rejects.toThrow(/over its end/);
  expect(await readdir(folder.path)).toEqual(['x.incomplete']);
});
