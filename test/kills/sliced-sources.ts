/** Checkpoints of several formats, to be sliced over and over. */
import { cp, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { blockConfigs, blockModel } from '../fixtures/block-model.ts';
import { blockTypes } from '../fixtures/ggml-blocks.ts';
import { goldenFile } from '../fixtures/tiny-checkpoint.ts';
import { buildCheckpoint, readGolden } from '../goldens/build-checkpoint.ts';

export interface SlicedSource {
  readonly name: string;
  /** Relative to the folder of all. */
  readonly place: string;
  readonly rankCounts: readonly number[];
  readonly weights: readonly WeightFormat[];
  make(place: string): Promise<void>;
}

const golden = (name: string): SlicedSource => ({
  name,
  place: name,
  rankCounts: [1, 2, 4],
  weights: ['fp32', 'int8', 'int4'],
  make: async (place) => {
    await buildCheckpoint(await readGolden(goldenFile(name)), place);
  },
});

const quantised = (name: string, rankCounts: readonly number[]): SlicedSource => ({
  name,
  place: name,
  rankCounts,
  weights: ['native', 'int4'],
  make: (place) => cp(goldenFile(`quantized/${name}`).replace(/[.]json$/, ''), place, { recursive: true }),
});

const gguf = (type: string): SlicedSource => ({
  name: `GGUF ${type}`,
  place: path.join(`gguf-${type}`, 'model.gguf'),
  rankCounts: [1, 2],
  weights: ['native', 'int8'],
  make: async (place) => {
    const folder = path.dirname(place);
    await mkdir(folder);
    await blockModel(folder, blockTypes.find(({ name }) => name === type)!, blockConfigs.qwen3_moe);
  },
});

export const slicedSources: readonly SlicedSource[] = [
  golden('qwen3_moe'),
  golden('deepseek_v3'),
  quantised('deepseek_v3_fp8_block', [1, 2, 4]),
  quantised('kimi_k2_int4', [1, 2]),
  quantised('qwen3_moe_gptq_int4', [1, 2]),
  quantised('gpt_oss_mxfp4', [1, 2]),
  gguf('Q4_0'),
  gguf('Q4_K'),
];

/** Writes those that are asked for, each once. */
export class MadeSources {
  readonly #folder: string;
  readonly #made = new Map<SlicedSource, Promise<void>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where it lies. */
  async get(source: SlicedSource): Promise<string> {
    const place = path.join(this.#folder, source.place);
    const made = this.#made.get(source) ?? source.make(place);
    this.#made.set(source, made);
    await made;
    return place;
  }
}
