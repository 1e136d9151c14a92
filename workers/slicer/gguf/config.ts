/** From the metadata of a GGUF file to what config.json would say, by architecture. */
import { TriremeError } from '#platform/errors.ts';
import type { JsonObject } from '#platform/json-object.ts';
import { deepseek2 } from './architectures/deepseek.ts';
import { DescribedModel } from './architectures/described-model.ts';
import { ernie, ernieMoe } from './architectures/ernie.ts';
import { glm4Moe } from './architectures/glm4-moe.ts';
import { gptOss } from './architectures/gpt-oss.ts';
import { llama } from './architectures/llama.ts';
import { qwen2, qwen2Moe, qwen3, qwen3Moe } from './architectures/qwen.ts';
import type { Architecture } from './architectures/shared-fields.ts';
import type { Metadata } from './metadata.ts';

/** By general.architecture. */
const architectures: ReadonlyMap<string, Architecture> = new Map([
  ['llama', llama],
  ['qwen2', qwen2],
  ['qwen2moe', qwen2Moe],
  ['qwen3', qwen3],
  ['qwen3moe', qwen3Moe],
  ['deepseek2', deepseek2],
  ['glm4moe', glm4Moe],
  ['gpt-oss', gptOss],
  ['ernie4_5', ernie],
  ['ernie4_5-moe', ernieMoe],
]);

/**
 * `shapes` are those of the file's tensors by name. Errors: UNKNOWN_FAMILY, listing the known architectures; INVALID_CHECKPOINT naming
 * a key that is missing, odd, unknown, or asks for what Trireme does not compute.
 */
export function configOf(metadata: Metadata, shapes: ReadonlyMap<string, readonly number[]>): JsonObject {
  const kind = metadata.text('general.type') ?? 'model';
  if (kind !== 'model') throw metadata.unsupported('general.type', 'model');
  const name = metadata.text('general.architecture');
  if (name === undefined) throw metadata.missing('general.architecture');
  const architecture = architectures.get(name);
  if (!architecture) throw unknownArchitecture(name, metadata.file);
  const model = new DescribedModel(name, metadata, shapes);
  const config = architecture(model);
  model.refuseUnknown();
  return config;
}

function unknownArchitecture(name: string, file: string): TriremeError {
  const known = [...architectures.keys()].join(', ');
  return new TriremeError(
    'UNKNOWN_FAMILY',
    `${file}: architecture ${JSON.stringify(name)} is not known; known: ${known}`,
    {
      remedy: "Take the model's safetensors files, if their family is known",
    },
  );
}
