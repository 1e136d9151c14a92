/** What rank 0 does when a model is verified: runs the scenarios and posts their reports. */
import type { RankContext } from '../rank/rank-context.ts';
import type { RunLeader } from '../rank/rank-messages.ts';
import type { Golden } from './golden.ts';
import { ProbedLeader } from './probed-leader.ts';
import { runScenarios } from './scenarios.ts';

export interface VerifyJob {
  readonly golden: Golden;
  readonly tolerance: number;
}

export const runLeader: RunLeader = ({ runner, model, post }: RankContext, { golden, tolerance }: VerifyJob) => {
  post(runScenarios(new ProbedLeader(runner, model), golden, tolerance));
};
