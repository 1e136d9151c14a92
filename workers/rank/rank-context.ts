/** What a leader's job finds when the group is warm. */
import type { ServingSettings } from '#proto/records.ts';
import type { Manifest } from '../models/manifest.ts';
import type { LeaderRunner } from './leader-runner.ts';
import type { RankModel } from './rank-model.ts';

export interface RankContext {
  readonly manifest: Manifest;
  readonly serving: ServingSettings;
  readonly runner: LeaderRunner;
  /** This rank's own slice, to look inside. */
  readonly model: RankModel;
  /** Errors: RANK_FAILED when the team has been aborted. To be called now and then, at least once a step. */
  checkAbort(): void;
  /** Hands a value to whoever started the team; structured clone. */
  post(value: unknown): void;
}
