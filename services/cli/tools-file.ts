/** The functions that a model may call, from a file: a JSON list, each as it is or as OpenAI's API wraps it. */
import { z } from 'zod';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject } from '#platform/json-object.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { parseStrictJson } from '#platform/strict-json.ts';
import type { Tool } from '#proto/inference.ts';

const toolSchema = z.object({
  name: z.string().min(1),
  description: z.string().default(''),
  parameters: z.record(z.string(), z.unknown()).optional(),
});

const example = '[{"name": "weather", "description": "...", "parameters": {"type": "object", "properties": {...}}}]';

/** Errors: INVALID_ARGUMENT naming the file and what is wrong, IO_ERROR. */
export async function readTools(file: string): Promise<Tool[]> {
  const bytes = await readPlainFile(file);
  if (!bytes) throw notTools(file, 'no such file');
  const list = parse(bytes, file);
  if (!Array.isArray(list)) throw notTools(file, 'it holds no list');
  return list.map((entry: unknown, index) => {
    const read = toolSchema.safeParse(isJsonObject(entry) && entry.type === 'function' ? entry.function : entry);
    if (!read.success) throw notTools(file, `tool ${index}: ${firstIssue(read.error)}`);
    const { name, description, parameters } = read.data;
    return { name, description, parameters: parameters ? JSON.stringify(parameters) : '' };
  });
}

function parse(bytes: Uint8Array, file: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw notTools(file, (cause as Error).message, cause);
  }
}

function firstIssue({ issues }: z.ZodError): string {
  const [issue] = issues;
  return [issue?.path.join('.'), issue?.message].filter(Boolean).join(': ');
}

function notTools(file: string, reason: string, cause?: unknown): TriremeError {
  return new TriremeError('INVALID_ARGUMENT', `${file} lists no tools: ${reason}`, {
    cause,
    remedy: `Write it as ${example}`,
  });
}
