/** The checkpoints whose accuracy is measured: the demo model, it again in published formats, and the quantised goldens. */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { loadTokenizer } from '#tokenizer/tokenizer.ts';
import { inspect } from '../../../workers/slicer/inspect.ts';
import { parseGolden } from '../../../workers/verify/golden.ts';
import { checkpointOf, type GoldenFile, goldensIn, isQuantised } from '../../goldens/golden-folder.ts';
import { root } from '../measure.ts';
import type { Subject } from './measure-accuracy.ts';
import { type PublishedFormat, publishedFormats } from './quantised-copy.ts';

const demo = path.join(root, 'models', 'demo');
/** Tokens that see each other. */
const windowTokens = 512;

/** Checkpoints that are made are there until the next is asked for. */
export async function* subjectsOf(scratch: string): AsyncGenerator<Subject> {
  const windows = await heldOutWindows();
  yield await demoSubject('demo model', demo, windows);
  for (const format of publishedFormats) yield* demoCopy(format, windows, scratch);
  for (const golden of await goldensIn(path.join(root, 'test', 'goldens'), [])) {
    if (await isQuantised(golden)) yield await goldenSubject(golden, scratch);
  }
}

/** The held-out text of the demo model. */
export async function heldOutWindows(): Promise<readonly Int32Array[]> {
  const tokenizer = await loadTokenizer(demo);
  const tokens = Int32Array.from(tokenizer.encode(await readFile(path.join(demo, 'heldout.txt'), 'utf8')));
  const count = Math.ceil(tokens.length / windowTokens);
  return Array.from({ length: count }, (_, i) => tokens.slice(i * windowTokens, (i + 1) * windowTokens));
}

/** The demo model in a published format, as long as it is looked at. */
export async function* demoCopy(
  format: PublishedFormat,
  windows: readonly Int32Array[],
  scratch: string,
): AsyncGenerator<Subject> {
  const folder = path.join(scratch, 'copy');
  const model = await format.write(demo, folder);
  yield await demoSubject(`demo model, ${format.name}`, model, windows);
  await rm(folder, { recursive: true });
}

/** The demo model, or a copy of it. */
export async function demoSubject(name: string, model: string, windows: readonly Int32Array[]): Promise<Subject> {
  const { vocabularySize } = (await inspect(demo)).model;
  return { name, model, vocabulary: vocabularySize, windows, isText: true };
}

/** A quantised golden: its prompt and continuation in one window. */
export async function goldenSubject(file: GoldenFile, scratch: string): Promise<Subject> {
  const golden = parseGolden(await readFile(file.file, 'utf8'), file.file);
  const model = await checkpointOf(file, scratch);
  const { vocabularySize } = (await inspect(model)).model;
  const windows = [Int32Array.from([...golden.prompt, ...golden.continuation])];
  return {
    name: golden.name,
    model,
    vocabulary: vocabularySize,
    windows,
    isText: false,
    expected: golden.logits,
  };
}
