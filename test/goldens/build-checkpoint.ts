/**
 * Rebuilds the checkpoint folder of a golden file and checks every tensor by its SHA-256:
 *   node test/goldens/build-checkpoint.ts --golden FILE --out DIR
 * Exit status 1 when a tensor differs. The tokenizer is a stand-in with one token an id, for a model that has no text.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { drawTensor, type RecipeConfig, toBfloat16 } from './recipe.ts';
import { plainTokenizer, type TensorBytes, writeSafetensors } from './write-checkpoint.ts';

interface GoldenTensor {
  readonly dtype: 'BF16' | 'F32';
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** What the recipe needs of a golden file; README.md describes all of it. */
export interface GoldenRecipe {
  readonly seed: number;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, GoldenTensor>>;
}

function recipeConfig(config: GoldenRecipe['config']): RecipeConfig {
  const inner = (config['text_config'] ?? config) as Readonly<Record<string, unknown>>;
  return {
    modelType: String(inner['model_type']),
    tied: (config['tie_word_embeddings'] ?? inner['tie_word_embeddings']) === true,
    latentRank: Number(inner['kv_lora_rank'] ?? 0),
  };
}

/** In the order of the golden file. */
export function buildTensors(golden: GoldenRecipe): readonly TensorBytes[] {
  const config = recipeConfig(golden.config);
  return Object.entries(golden.tensors).map(([name, { dtype, shape }]) => {
    const values = drawTensor(golden.seed, name, shape, config);
    const stored = dtype === 'BF16' ? toBfloat16(values) : values;
    return { name, dtype, shape, bytes: new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength) };
  });
}

/** Writes the folder. Returns the names of tensors whose digest is not the golden's: none, unless something is broken. */
export async function buildCheckpoint(golden: GoldenRecipe, folder: string): Promise<readonly string[]> {
  const tensors = buildTensors(golden);
  await mkdir(folder, { recursive: true });
  const vocabulary = Number(
    golden.config['vocab_size'] ?? (golden.config['text_config'] as { vocab_size?: number } | undefined)?.vocab_size,
  );
  await writeFile(path.join(folder, 'config.json'), `${JSON.stringify(golden.config, null, 1)}\n`);
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(plainTokenizer(vocabulary)));
  await writeSafetensors(path.join(folder, 'model.safetensors'), tensors);
  return tensors
    .filter(({ name, bytes }) => createHash('sha256').update(bytes).digest('hex') !== golden.tensors[name]?.sha256)
    .map(({ name }) => name);
}

/** Errors: Error when the file has no recipe: the demo model's weights were trained. */
export async function readGolden(file: string): Promise<GoldenRecipe> {
  return recipeOf(JSON.parse(await readFile(file, 'utf8')), file);
}

/** As readGolden, of a file that has been parsed. */
export function recipeOf({ seed, config, tensors }: Partial<GoldenRecipe>, file: string): GoldenRecipe {
  if (typeof seed !== 'number' || !config || !tensors) throw new Error(`${file} has no recipe (seed, config, tensors)`);
  return { seed, config, tensors };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { golden: { type: 'string' }, out: { type: 'string' } } });
  if (!values.golden || !values.out) throw new Error('usage: build-checkpoint.ts --golden FILE --out DIR');
  const golden = await readGolden(values.golden);
  const different = await buildCheckpoint(golden, values.out);
  for (const name of different) console.error(`${name} differs from the golden file`);
  console.log(`${values.out}: ${Object.keys(golden.tensors).length} tensors, ${different.length} differ`);
  process.exitCode = different.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
