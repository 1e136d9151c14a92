/** The one table from model_type to family. A new family is a new row. */
import { TriremeError } from '#platform/errors.ts';
import { ConfigReader } from './config-reader.ts';
import { llama } from './families/llama.ts';
import { qwen3Moe } from './families/qwen3-moe.ts';
import type { Family } from './family.ts';
import type { ModelSpec } from './spec.ts';

const families = new Map<string, Family>([
  ['llama', llama],
  ['qwen3_moe', qwen3Moe],
]);

/** Errors: UNKNOWN_FAMILY, listing the known ones. */
export function familyOf(modelType: string): Family {
  const family = families.get(modelType);
  if (family) return family;
  const known = [...families.keys()].join(', ');
  throw new TriremeError('UNKNOWN_FAMILY', `model_type ${JSON.stringify(modelType)} is not known; known: ${known}`);
}

/**
 * `config` is the parsed config.json, in the spelling of transformers 4 or 5. Errors: UNKNOWN_FAMILY; INVALID_CHECKPOINT
 * naming a field that is missing, odd or asks for what Trireme does not compute.
 */
export function readModelSpec(config: unknown): ModelSpec {
  const reader = ConfigReader.over(config);
  const modelType = reader.text('model_type');
  if (modelType === undefined) throw reader.missing('model_type');
  return { family: modelType, ...familyOf(modelType)(reader) };
}
