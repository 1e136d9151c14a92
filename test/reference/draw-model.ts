/** A random model of any family. */
import * as grouped from './draw-grouped.ts';
import * as hybrid from './draw-hybrid.ts';
import * as latent from './draw-latent.ts';
import type { DrawnModel } from './drawn-model.ts';
import { Random } from './random.ts';

/** In the order of the product's table. */
const draws: Readonly<Record<string, (random: Random) => DrawnModel>> = {
  llama: grouped.drawLlama,
  qwen2: grouped.drawQwen2,
  qwen3: grouped.drawQwen3,
  qwen2_moe: grouped.drawQwen2Moe,
  qwen3_moe: grouped.drawQwen3Moe,
  qwen3_next: hybrid.drawQwen3Next,
  qwen3_5_moe: hybrid.drawQwen35,
  deepseek_v2: latent.drawDeepseekV2,
  deepseek_v3: latent.drawDeepseekV3,
  kimi_k2: latent.drawKimi,
  deepseek_v32: latent.drawDeepseekV32,
  glm4_moe: grouped.drawGlm4Moe,
  glm4_moe_lite: latent.drawGlmLite,
  glm_moe_dsa: latent.drawGlmDsa,
  ernie4_5: grouped.drawErnie,
  ernie4_5_moe: grouped.drawErnieMoe,
  gpt_oss: grouped.drawGptOss,
  mixtral: grouped.drawMixtral,
  minimax_m2: grouped.drawMinimax,
  hunyuan_v1_moe: grouped.drawHunyuan,
};

export const drawnFamilies = Object.keys(draws);

/** Errors: Error for a family that is not among drawnFamilies. */
export function drawModel(family: string, seed: number): DrawnModel {
  const draw = draws[family];
  if (!draw) throw new Error(`no family is called ${family}; known: ${drawnFamilies.join(', ')}`);
  return draw(new Random(seed, family));
}
