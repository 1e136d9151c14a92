/** The whole forward pass of any family, one token at a time. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Decisions } from './attention.ts';
import { ConfigFields } from './config-fields.ts';
import * as grouped from './grouped-families.ts';
import * as latent from './latent-families.ts';
import type { BuildLayer, Layer } from './layer.ts';
import { add, matrixTimes, type Tensor, type Vector } from './vectors.ts';
import { readSafetensors, Weights } from './weights.ts';

const builders: Readonly<Record<string, BuildLayer>> = {
  deepseek_v2: latent.deepseekV2,
  deepseek_v3: latent.deepseekV3,
  kimi_k2: latent.deepseekV3,
  deepseek_v32: latent.deepseekV32,
  glm4_moe_lite: latent.deepseekV3,
  glm_moe_dsa: latent.glmDsa,
  llama: grouped.llama,
  qwen2: grouped.qwen2,
  qwen2_moe: grouped.qwen2Moe,
  qwen3: grouped.qwen3,
  qwen3_moe: grouped.qwen3Moe,
  qwen3_next: grouped.qwen3Next,
  qwen3_5_moe_text: grouped.qwen35Moe,
  glm4_moe: grouped.glm4Moe,
  ernie4_5: grouped.ernieDense,
  ernie4_5_moe: grouped.ernieMoe,
  minimax_m2: grouped.minimax,
  gpt_oss: grouped.gptOss,
  mixtral: grouped.mixtral,
  hunyuan_v1_moe: grouped.hunyuan,
};

/** Their layer norms multiply by 1 + w. */
const addsOne = ['qwen3_next', 'qwen3_5_moe_text'];

export interface PositionResult extends Decisions {
  readonly logits: Vector;
  /** Residual stream after each layer. */
  readonly hidden: readonly Vector[];
}

export class ReferenceModel {
  readonly #weights: Weights;
  readonly #body: Weights;
  readonly #layers: readonly Layer[];
  readonly #epsilon: number;
  readonly #tied: boolean;
  readonly #addsOne: boolean;

  constructor({ config: json, tensors }: ReferenceCheckpoint) {
    const outer = new ConfigFields(json);
    const config = outer.inner('text_config') ?? outer;
    const modelType = config.text('model_type');
    const build = builders[modelType];
    if (!build) throw new Error(`the reference knows no model of type ${modelType}`);
    this.#weights = new Weights(tensors);
    const inner = this.#weights.at('model.language_model');
    this.#body = inner.has('embed_tokens.weight') ? inner : this.#weights.at('model');
    this.#epsilon = config.number('rms_norm_eps');
    this.#addsOne = addsOne.includes(modelType);
    this.#tied = outer.flag(
      'tie_word_embeddings',
      config.flag('tie_word_embeddings', !this.#weights.has('lm_head.weight')),
    );
    this.#layers = buildLayers(config, this.#body, build);
  }

  get vocabularySize(): number {
    return this.#body.tensor('embed_tokens.weight').shape[0]!;
  }

  /** Goes on from position - 1, which must have been computed. What was computed for this position and later is forgotten. */
  at(position: number, token: number): PositionResult {
    const decisions: Decisions = { margin: Number.POSITIVE_INFINITY, selections: new Map(), routings: new Map() };
    const { shape, values } = this.#body.tensor('embed_tokens.weight');
    const width = shape[1]!;
    let x: Vector = values.slice(token * width, (token + 1) * width);
    const hidden = this.#layers.map(({ attention, feedForward }, layer) => {
      const weights = this.#body.at(`layers.${layer}`);
      x = add(x, attention.at(position, this.#norm(weights, 'input_layernorm', x), decisions));
      x = add(x, feedForward.at(this.#norm(weights, 'post_attention_layernorm', x), decisions));
      return x;
    });
    const head = this.#tied ? this.#body.tensor('embed_tokens.weight') : this.#weights.tensor('lm_head.weight');
    const logits = matrixTimes(head, this.#norm(this.#body, 'norm', x));
    return { ...decisions, logits, hidden };
  }

  #norm(weights: Weights, name: string, x: Vector): Vector {
    return this.#addsOne ? weights.rmsNormPlusOne(name, x, this.#epsilon) : weights.rmsNorm(name, x, this.#epsilon);
  }
}

function buildLayers(config: ConfigFields, body: Weights, build: BuildLayer): readonly Layer[] {
  const layers: Layer[] = [];
  for (let layer = 0; layer < config.number('num_hidden_layers'); layer++) {
    layers.push(build(config, body.at(`layers.${layer}`), layer, layers));
  }
  return layers;
}

export interface ReferenceCheckpoint {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** Of a folder: config.json and all its safetensors files. */
export function readReferenceCheckpoint(folder: string): ReferenceCheckpoint {
  const files = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
  const tensors = new Map(files.flatMap((file) => [...readSafetensors(path.join(folder, file))]));
  return { config: JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8')), tensors };
}
