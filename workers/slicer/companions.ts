/** The files beside the weights that serving needs: tokenizer, chat template, generation defaults. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { readJson } from './checkpoint.ts';

const tokenizerFile = 'tokenizer.json';
const optionalFiles = ['tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];

async function exists(folder: string, file: string): Promise<boolean> {
  return access(path.join(folder, file)).then(
    () => true,
    () => false,
  );
}

/** Names of the files to copy. Errors: MISSING_TOKENIZER. */
export async function findCompanions(folder: string): Promise<readonly string[]> {
  if (!(await exists(folder, tokenizerFile))) {
    throw new TriremeError('MISSING_TOKENIZER', `${folder} has no ${tokenizerFile}`, {
      remedy: 'Fetch it with the model; other tokenizer formats are not read',
    });
  }
  const present = await Promise.all(optionalFiles.map((file) => exists(folder, file)));
  return [tokenizerFile, ...optionalFiles.filter((_, i) => present[i])];
}

/** Ids that end a turn: of generation_config.json, else of config.json. Errors: INVALID_CHECKPOINT. */
export async function readEndTokens(folder: string, config: unknown): Promise<readonly number[]> {
  const field = (json: unknown): unknown => (json as { eos_token_id?: unknown } | null | undefined)?.eos_token_id;
  const value = field(await readJson(folder, 'generation_config.json')) ?? field(config) ?? [];
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isId = (id: unknown): id is number => Number.isInteger(id) && Number(id) >= 0;
  if (ids.every(isId)) return ids;
  throw new TriremeError('INVALID_CHECKPOINT', `eos_token_id is ${JSON.stringify(value)}, expected token ids`);
}
