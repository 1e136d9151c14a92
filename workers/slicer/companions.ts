/** The files beside the weights that serving needs: tokenizer, chat template, generation defaults. */
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { decodeUtf8 } from '#platform/strict-json.ts';
import { type Companion, readJson } from './checkpoint.ts';

const tokenizerFile = 'tokenizer.json';
const templateFile = 'chat_template.jinja';
const settingsFiles = ['tokenizer_config.json', 'generation_config.json'];

/**
 * Those of a folder, each read once, so that a package does not carry what no router can use. Errors: MISSING_TOKENIZER,
 * INVALID_CHECKPOINT, IO_ERROR.
 */
export async function findCompanions(folder: string): Promise<readonly Companion[]> {
  if (!(await holdsObject(folder, tokenizerFile, ['model']))) {
    throw new TriremeError('MISSING_TOKENIZER', `${folder} has no ${tokenizerFile}`, {
      remedy: 'Fetch it with the model; other tokenizer formats are not read',
    });
  }
  const found = [tokenizerFile];
  for (const file of settingsFiles) if (await holdsObject(folder, file)) found.push(file);
  if (await holdsText(folder, templateFile)) found.push(templateFile);
  return found.map((name) => ({ name }));
}

/** False when the file is not there. */
async function holdsObject(folder: string, file: string, fields: readonly string[] = []): Promise<boolean> {
  const json = await readJson(folder, file);
  if (json === undefined) return false;
  const isObject = (value: unknown): value is object =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(json)) throw malformed(folder, file, 'it holds no JSON object');
  const missing = fields.find((field) => !isObject((json as Record<string, unknown>)[field]));
  if (missing !== undefined) throw malformed(folder, file, `it has no ${missing}`);
  return true;
}

async function holdsText(folder: string, file: string): Promise<boolean> {
  const bytes = await readPlainFile(path.join(folder, file));
  try {
    if (bytes) decodeUtf8(bytes);
  } catch (cause) {
    throw malformed(folder, file, (cause as Error).message);
  }
  return bytes !== undefined;
}

function malformed(folder: string, file: string, reason: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${path.join(folder, file)} is malformed: ${reason}`, {
    remedy: 'Fetch the file again',
  });
}

/** Ids that end a turn: of generation_config.json, else of config.json. Errors: INVALID_CHECKPOINT. */
export async function readEndTokens(folder: string, config: unknown): Promise<readonly number[]> {
  const field = (json: unknown): unknown => (json as { eos_token_id?: unknown } | null | undefined)?.eos_token_id;
  const value = field(await readJson(folder, 'generation_config.json')) ?? field(config) ?? [];
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isId = (id: unknown): id is number => Number.isInteger(id) && Number(id) >= 0;
  if (ids.every(isId)) return ids;
  throw new TriremeError('INVALID_CHECKPOINT', `eos_token_id is ${JSON.stringify(value)}, expected token ids`, {
    remedy: 'Fetch generation_config.json and config.json again',
  });
}
