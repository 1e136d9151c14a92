/** Steps of a whole group, seen from rank 0: tells the other ranks the plan, runs this rank's part, gathers the logits. */
import type { Collective } from '../collectives/collective.ts';
import type { ChunkLogits, ModelRunner, StepPlan } from '../engine/step.ts';
import type { Manifest } from '../models/manifest.ts';
import { type RankShard, shardOf } from '../models/shard.ts';
import type { RankModel } from './rank-model.ts';
import { decodeStep, encodeStep, encodeStop } from './step-message.ts';
import { decodeShards, encodeShard, readAlone, wantedRows } from './vocabulary-gather.ts';

export class LeaderRunner implements ModelRunner {
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly canCopy: boolean;
  readonly #model: RankModel;
  readonly #collective: Collective;
  readonly #vocabularies: readonly RankShard['vocabulary'][];

  constructor(model: RankModel, collective: Collective, manifest: Manifest) {
    this.vocabularySize = manifest.spec.vocabularySize;
    this.contextLength = manifest.spec.contextLength;
    this.canCopy = manifest.spec.layers.every(({ attention }) => attention.kind !== 'delta');
    this.#model = model;
    this.#collective = collective;
    const { spec, experts, shards } = manifest;
    const ranks = shards.length;
    this.#vocabularies = shards.map(({ rank }) => shardOf(spec, { rank, ranks }, experts).vocabulary);
  }

  run(plan: StepPlan): readonly ChunkLogits[] {
    const isAlone = this.#collective.ranks === 1;
    if (!isAlone) this.#collective.broadcast(encodeStep(plan));
    runRows(this.#model, plan);
    const logits = this.#gather(plan, isAlone);
    return withHidden(plan, logits, this.#model);
  }

  #gather(plan: StepPlan, isAlone: boolean): readonly ChunkLogits[] {
    const wanted = wantedRows(plan);
    if (wanted.rows.length === 0) return plan.chunks.map(() => ({ kind: 'none' }));
    const logits = this.#model.logits(wanted.rows);
    if (isAlone) return readAlone(plan, logits, this.#model.vocabulary);
    const parts = this.#collective.allGather(encodeShard(logits, wanted, this.#model.vocabulary));
    return decodeShards(plan, parts, this.#vocabularies);
  }

  /** Lets the other ranks leave their loops. */
  stop(): void {
    if (this.#collective.ranks > 1) this.#collective.broadcast(encodeStop());
  }
}

/**
 * The loop of every other rank: runs what the leader says until it says stop. `onStep` is called after each step. Errors:
 * RANK_FAILED, DEADLINE_EXCEEDED, RUNTIME_ERROR.
 */
export function runFollower(model: RankModel, collective: Collective, onStep: () => void = () => {}): void {
  for (;;) {
    const plan = decodeStep(collective.broadcast(undefined));
    if (!plan) return;
    runRows(model, plan);
    const wanted = wantedRows(plan);
    if (wanted.rows.length > 0) {
      collective.allGather(encodeShard(model.logits(wanted.rows), wanted, model.vocabulary));
    }
    onStep();
  }
}

/** A plan without rows only releases and copies. */
function runRows(model: RankModel, plan: StepPlan): void {
  model.prepare(plan);
  if (plan.chunks.length > 0) model.forward(plan);
}

/** The stream is whole on every rank: hidden states need no other. */
function withHidden(plan: StepPlan, logits: readonly ChunkLogits[], model: RankModel): readonly ChunkLogits[] {
  if (!plan.chunks.some(({ logits }) => logits.startsWith('hidden'))) return logits;
  let first = 0;
  return plan.chunks.map(({ tokens, logits: wanted }, i): ChunkLogits => {
    const start = first;
    first += tokens.length;
    if (wanted === 'hidden-last') return { kind: 'hidden', values: model.hidden(first - 1, 1).slice() };
    if (wanted === 'hidden-sum')
      return { kind: 'hidden', values: sumRows(model.hidden(start, tokens.length), tokens.length) };
    return logits[i]!;
  });
}

function sumRows(rows: Float32Array, count: number): Float32Array {
  const width = rows.length / count;
  const sum = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) sum[i % width] = sum[i % width]! + rows[i]!;
  return Float32Array.from(sum);
}
