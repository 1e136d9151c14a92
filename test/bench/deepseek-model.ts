/** DeepSeek-V3 with one dense layer and one with experts, for benchmarks: as wide as it is, or narrower. */
import released from '../fixtures/configs/deepseek-v3.json' with { type: 'json' };

/** Fields of config.json. */
export interface DeepseekWidths {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly q_lora_rank: number;
  readonly kv_lora_rank: number;
  readonly intermediate_size: number;
  readonly moe_intermediate_size: number;
  readonly n_routed_experts: number;
  readonly vocab_size: number;
}

/** The released model's; 16 of its 256 experts. */
export const fullWidths: DeepseekWidths = {
  hidden_size: 7168,
  num_attention_heads: 128,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  intermediate_size: 18_432,
  moe_intermediate_size: 2048,
  n_routed_experts: 16,
  vocab_size: 129_280,
};

/** About 0.4 GB in FP8, no tensor of more than 20 MB. */
export const narrowWidths: DeepseekWidths = {
  hidden_size: 2048,
  num_attention_heads: 32,
  q_lora_rank: 768,
  kv_lora_rank: 512,
  intermediate_size: 8192,
  moe_intermediate_size: 1024,
  n_routed_experts: 48,
  vocab_size: 4096,
};

export function deepseekConfig(widths: DeepseekWidths): Readonly<Record<string, unknown>> {
  return {
    ...released,
    ...widths,
    num_hidden_layers: 2,
    first_k_dense_replace: 1,
    num_key_value_heads: widths.num_attention_heads,
    num_nextn_predict_layers: 0,
  };
}
