/** The one table from model_type to family. A new family is a new row. */
import { TriremeError } from '#platform/errors.ts';
import { ConfigReader } from './config/config-reader.ts';
import { ignoredFields, refuseOtherValues } from './config/ignored-fields.ts';
import { deepseekV2, deepseekV3, deepseekV32, glmMoeDsa } from './families/deepseek.ts';
import { ernie, ernieMoe } from './families/ernie.ts';
import { glm4Moe } from './families/glm4-moe.ts';
import { gptOss } from './families/gpt-oss.ts';
import { hunyuanMoe } from './families/hunyuan.ts';
import { llama } from './families/llama.ts';
import { minimaxM2 } from './families/minimax.ts';
import { mixtral } from './families/mixtral.ts';
import { qwen2, qwen3 } from './families/qwen.ts';
import { qwen3Next, qwen35Moe } from './families/qwen-hybrid.ts';
import { qwen2Moe, qwen3Moe } from './families/qwen-moe.ts';
import type { Family } from './family.ts';
import type { ModelSpec } from './spec.ts';

const families = new Map<string, Family>([
  ['llama', llama],
  ['qwen2', qwen2],
  ['qwen3', qwen3],
  ['qwen2_moe', qwen2Moe],
  ['qwen3_moe', qwen3Moe],
  ['qwen3_next', qwen3Next],
  ['qwen3_5_moe_text', qwen35Moe],
  ['deepseek_v2', deepseekV2],
  ['deepseek_v3', deepseekV3],
  ['kimi_k2', deepseekV3],
  ['deepseek_v32', deepseekV32],
  ['glm4_moe', glm4Moe],
  ['glm4_moe_lite', deepseekV3],
  ['glm_moe_dsa', glmMoeDsa],
  ['ernie4_5', ernie],
  ['ernie4_5_moe', ernieMoe],
  ['gpt_oss', gptOss],
  ['mixtral', mixtral],
  ['minimax_m2', minimaxM2],
  ['hunyuan_v1_moe', hunyuanMoe],
]);

/** Fields that a model for text and more and its text model both have, each of its own. */
const ofEither: ReadonlySet<string> = new Set(['model_type', ...ignoredFields]);

/** Errors: UNKNOWN_FAMILY, listing the known ones. */
export function familyOf(modelType: string): Family {
  const family = families.get(modelType);
  if (family) return family;
  const known = [...families.keys()].join(', ');
  throw new TriremeError('UNKNOWN_FAMILY', `model_type ${JSON.stringify(modelType)} is not known; known: ${known}`);
}

/**
 * `config` is the parsed config.json, in the spelling of transformers 4 or 5; of a model for text and more its text_config counts.
 * Errors: UNKNOWN_FAMILY; INVALID_CHECKPOINT naming a field that is missing, odd, unknown, or asks for what Trireme does not
 * compute.
 */
export function readModelSpec(config: unknown, file = 'config.json'): ModelSpec {
  const whole = ConfigReader.over(config, file);
  const reader = whole.inner('text_config', ofEither) ?? whole;
  const modelType = reader.text('model_type');
  if (modelType === undefined) throw reader.missing('model_type');
  const spec = { family: modelType, ...familyOf(modelType)(reader) };
  reader.ignore(ignoredFields);
  refuseOtherValues(reader);
  reader.refuseUnknown();
  return spec;
}
