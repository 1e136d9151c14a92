/** A GGUF model in parts, as large ones are published, by the command line. */
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { VerifyReport } from '../../workers/verify/verify.ts';
import { convertCheckpoint } from '../fixtures/gguf-checkpoint.ts';
import { partName, writeGgufParts } from '../fixtures/gguf-parts.ts';
import type { GgufContents } from '../fixtures/gguf-writer.ts';
import { digestsOf, goldenCheckpoint, goldenFile, type TemporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { trireme } from './start-system.ts';

const golden = 'qwen3_moe';
const parts = 3;
let folder: TemporaryFolder;
let contents: GgufContents;
const at = (...names: readonly string[]): string => path.join(folder.path, ...names);

beforeAll(async () => {
  const built = await goldenCheckpoint(golden);
  folder = built;
  await mkdir(at('parts'));
  await convertCheckpoint(built.checkpoint, at('whole.gguf'), 'BF16', (whole) => {
    contents = whole;
    return whole;
  });
  await writeGgufParts(at('parts'), contents, parts);
});
afterAll(() => folder[Symbol.asyncDispose]());

async function run(...flags: readonly string[]) {
  const command = trireme(...flags);
  const { status } = await command.exited;
  return { status, output: command.output };
}

/** What computes: the rest of a package says where it comes from. */
async function rankFiles(out: string): Promise<Record<string, string>> {
  const files = Object.entries(await digestsOf(out));
  return Object.fromEntries(files.filter(([name]) => name.startsWith('rank-')));
}

test('slice makes the package of the whole file out of any part', async () => {
  const slice = (model: string, out: string) => run('slice', '--model', model, '--out', out, '--ranks', '2');
  expect(await slice(at('whole.gguf'), at('of-whole'))).toMatchObject({ status: 0 });
  expect(await slice(at('parts', partName(2, parts)), at('of-part'))).toMatchObject({ status: 0 });
  const files = await rankFiles(at('of-part'));
  expect(Object.keys(files)).toHaveLength(4);
  expect(files).toEqual(await rankFiles(at('of-whole')));
});

test('inspect and verify take a part or the folder of them', async () => {
  expect(await run('inspect', at('parts', partName(3, parts)))).toMatchObject({
    status: 0,
    output: expect.stringMatching(/legal rank counts/),
  });
  const { status, output } = await run('verify', '--model', at('parts'), '--golden', goldenFile(golden), '--json');
  const report = JSON.parse(output.split('\n').find((line) => line.startsWith('{'))!) as VerifyReport;
  expect([status, report.passed, report.tolerance]).toEqual([0, true, 1e-4]);
});

test('a part that is not there is named, and nothing is made', async () => {
  await mkdir(at('fewer'));
  await writeGgufParts(at('fewer'), contents, parts);
  await rm(at('fewer', partName(2, parts)));
  const command = ['slice', '--model', at('fewer', partName(1, parts)), '--out', at('none'), '--ranks', '1'];
  const { status, output } = await run(...command);
  expect(status).toBe(66);
  expect(output).toMatch(/^NOT_A_CHECKPOINT: .*model-00002-of-00003\.gguf/m);
  await expect(digestsOf(at('none'))).rejects.toMatchObject({ code: 'ENOENT' });
});
