/** All ranks of a package, one after the other: those that an earlier run has finished, and the others. */
import type { FileDigest, Manifest, ShardManifest } from '../models/manifest.ts';
import { describeQuantisation, MatrixTally } from './describe-quantisation.ts';
import type { FinishedRanks } from './finished-ranks.ts';
import type { ModelTensors } from './model-tensors.ts';
import type { Progress } from './progress.ts';
import { rankWeightBytes } from './rank-bytes.ts';
import { type PlanOptions, planRank, type RankPlan } from './rank-plan.ts';
import type { RankWriter } from './rank-writer.ts';

export interface PackageRanksParts {
  readonly folder: string;
  readonly finished: FinishedRanks;
  readonly writer: RankWriter;
  readonly tensors: ModelTensors;
  readonly progress: Progress;
}

export interface WrittenRanks
  extends Pick<Manifest, 'shards' | 'activations'>,
    Pick<Manifest['provenance'], 'quantisation'> {
  readonly files: FileDigest[];
}

export class PackageRanks {
  readonly #parts: PackageRanksParts;

  constructor(parts: PackageRanksParts) {
    this.#parts = parts;
  }

  /** Errors: those of RankWriter.write. */
  async write({ weights, ranks, activations }: Omit<PlanOptions, 'rank'>): Promise<WrittenRanks> {
    const { tensors } = this.#parts;
    const matrices = new MatrixTally(tensors);
    const files: FileDigest[] = [];
    const shards: ShardManifest[] = [];
    let hasBlocks = false;
    for (let rank = 0; rank < ranks; rank++) {
      // One plan at a time: with many experts and ranks, all of them would outgrow the weights that are in memory.
      const plan = planRank(tensors, { weights, activations, rank, ranks });
      const weightBytes = rankWeightBytes(tensors, weights, { rank, ranks });
      files.push(...((await this.#find(rank, weightBytes)) ?? (await this.#write(plan))));
      shards.push(plan.shard);
      matrices.add(plan.weights);
      hasBlocks ||= plan.weights.some(({ kind }) => kind === 'blocks' || kind === 'integers');
    }
    const quantisation = describeQuantisation({ weights, activations, stored: tensors.formats, matrices });
    return { files, shards, activations: hasBlocks ? activations : 'fp32', quantisation };
  }

  async #find(rank: number, weightBytes: number): Promise<readonly FileDigest[] | undefined> {
    const { finished, progress } = this.#parts;
    const digests = await finished.find(rank, () => progress.advance(0));
    if (digests) progress.advance(weightBytes);
    return digests;
  }

  async #write(plan: RankPlan): Promise<readonly FileDigest[]> {
    const { finished, writer, folder } = this.#parts;
    const { rank } = plan.shard;
    try {
      const digests = await writer.write(folder, plan);
      await finished.add(rank, digests);
      return digests;
    } catch (cause) {
      await finished.remove(rank);
      throw cause;
    }
  }
}
