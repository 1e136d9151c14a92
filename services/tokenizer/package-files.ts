/** Reads the small JSON and text files that travel with a package's weights. */
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject } from '#platform/json-object.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { decodeUtf8 } from '#platform/strict-json.ts';

/** undefined when the file does not exist. Errors: INVALID_CHECKPOINT when it is no UTF-8, IO_ERROR. */
export async function readPackageText(folder: string, name: string): Promise<string | undefined> {
  const file = path.join(folder, name);
  const bytes = await readPlainFile(file);
  try {
    return bytes && decodeUtf8(bytes);
  } catch (cause) {
    throw malformed(file, (cause as Error).message, cause);
  }
}

/** undefined when the file does not exist. Errors: INVALID_CHECKPOINT when it holds no JSON object, IO_ERROR. */
export async function readPackageJson(folder: string, name: string): Promise<JsonObject | undefined> {
  const text = await readPackageText(folder, name);
  if (text === undefined) return undefined;
  const file = path.join(folder, name);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(file, cause instanceof Error ? cause.message : 'it is not JSON', cause);
  }
  if (!isJsonObject(value)) throw malformed(file, 'it does not hold a JSON object');
  return value;
}

export function malformed(file: string, reason: string, cause?: unknown): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${file} is malformed: ${reason}`, {
    cause,
    remedy: 'copy the file from the original checkpoint again',
  });
}
