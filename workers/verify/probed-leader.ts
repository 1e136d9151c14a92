/** The group's runner with a view of the inside: keeps what every layer of rank 0 left behind in the last forward pass. */
import type { ChunkLogits, StepPlan } from '../engine/step.ts';
import type { LeaderRunner } from '../rank/leader-runner.ts';
import type { LayerView, RankModel } from '../rank/rank-model.ts';
import type { Routing } from './golden.ts';
import type { ProbedRunner } from './scenarios.ts';

interface KeptLayer {
  readonly residuals: readonly Float32Array[];
  readonly routings: readonly Routing[] | undefined;
}

export class ProbedLeader implements ProbedRunner {
  readonly #runner: LeaderRunner;
  readonly #layers: KeptLayer[] = [];

  constructor(runner: LeaderRunner, model: RankModel) {
    this.#runner = runner;
    model.tap = (view) => {
      this.#layers[view.layer] = keep(view);
    };
  }

  get vocabularySize(): number {
    return this.#runner.vocabularySize;
  }

  get contextLength(): number {
    return this.#runner.contextLength;
  }

  get canCopy(): boolean {
    return this.#runner.canCopy;
  }

  run(plan: StepPlan): readonly ChunkLogits[] {
    return this.#runner.run(plan);
  }

  hidden(row: number): readonly Float32Array[] {
    return this.#layers.map(({ residuals }) => residuals[row] ?? new Float32Array(0));
  }

  routing(row: number): ReadonlyMap<number, Routing> {
    const known = this.#layers.map(({ routings }, layer) => [layer, routings?.[row]] as const);
    return new Map(known.flatMap(([layer, routing]) => (routing ? [[layer, routing]] : [])));
  }
}

function keep({ rows, residual, choice }: LayerView): KeptLayer {
  const residuals = Array.from({ length: rows }, (_, row) => residual(row));
  if (!choice) return { residuals, routings: undefined };
  const chosen = choice.experts.length / rows;
  const routings = residuals.map((_, row) => ({
    experts: [...choice.experts.subarray(row * chosen, (row + 1) * chosen)],
    weights: [...choice.weights.subarray(row * chosen, (row + 1) * chosen)],
  }));
  return { residuals, routings };
}
