/** adapter_config.json as PEFT writes it: which of its many kinds of adapter can be added to products as they are. */
import { z } from 'zod';
import { TriremeError } from '#platform/errors.ts';

/** By pattern of a module's name, as PEFT matches it: the whole name, or all after a dot. */
const pattern = z.record(z.string(), z.number().positive()).nullish();

const schema = z.looseObject({
  peft_type: z.literal('LORA', 'only LoRA adapters are supported'),
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().nullish(),
  rank_pattern: pattern,
  alpha_pattern: pattern,
  bias: z.literal('none', 'biases cannot be adapted').nullish(),
  fan_in_fan_out: z.literal(false, 'matrices stored as [in, out] are not supported').nullish(),
  use_dora: z.literal(false, 'DoRA changes the base weights and cannot be added to products').nullish(),
  modules_to_save: z.array(z.string()).max(0, 'whole modules cannot be replaced').nullish(),
  target_parameters: z.array(z.string()).max(0, 'expert matrices cannot be adapted').nullish(),
  layer_replication: z.null('repeated layers are another model').optional(),
  trainable_token_indices: z.null('changed embeddings are another model').optional(),
});

export interface AdapterConfig {
  readonly rankOf: (module: string) => number;
  /** What the product of both matrices is multiplied by. */
  readonly scaleOf: (module: string) => number;
}

/** `folder` is for messages. Errors: INVALID_ADAPTER naming the field. */
export function parseAdapterConfig(json: unknown, folder: string): AdapterConfig {
  const result = schema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    const field = issue?.path.join('.') || 'the whole';
    throw new TriremeError('INVALID_ADAPTER', `${folder}/adapter_config.json: ${field}: ${issue?.message}`, {
      remedy: 'Merge the adapter into its model, or train one of plain LoRA',
      cause: result.error,
    });
  }
  const { r, lora_alpha: alpha, use_rslora: rootScaled, rank_pattern: ranks, alpha_pattern: alphas } = result.data;
  const rankOf = (module: string): number => matched(ranks, module) ?? r;
  const scaleOf = (module: string): number => {
    const rank = rankOf(module);
    return (matched(alphas, module) ?? alpha) / (rootScaled ? Math.sqrt(rank) : rank);
  };
  return { rankOf, scaleOf };
}

function matched(patterns: Readonly<Record<string, number>> | null | undefined, module: string): number | undefined {
  const found = Object.entries(patterns ?? {}).find(([text]) => new RegExp(`(?:^|[.])(?:${text})$`).test(module));
  return found?.[1];
}
