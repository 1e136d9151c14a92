/**
 * The ways in which a golden's prompt is put through a model: all must give the golden's values. Pure: it makes plans, hands
 * them to a runner and compares what comes back.
 */
import { assert } from '#platform/assert.ts';
import type { ChunkLogits, ModelRunner, SequenceChunk, StepPlan } from '../engine/step.ts';
import { Comparison, type ScenarioReport } from './comparison.ts';
import type { Golden, Routing } from './golden.ts';

/** A runner that also shows the inside of the last run. */
export interface ProbedRunner extends ModelRunner {
  /** Residual stream after each layer at a row of the last run's step; row 0 is the first token of the first chunk. */
  hidden(row: number): readonly Float32Array[];
  /** By layer with experts: what that row chose. */
  routing(row: number): ReadonlyMap<number, Routing>;
}

export const scenarioNames = ['whole', 'stepwise', 'chunks', 'batch'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

/** Rows of the largest step that a scenario makes, and slots that it uses. */
export function needsOf(golden: Golden): { readonly rows: number; readonly slots: number } {
  return { rows: 4 * golden.prompt.length, slots: 4 };
}

export function runScenarios(runner: ProbedRunner, golden: Golden, tolerance: number): ScenarioReport[] {
  let step = 0;
  const run = (plan: Omit<StepPlan, 'step'>): readonly ChunkLogits[] => runner.run({ step: step++, ...plan });
  return scenarioNames.map((name) => {
    const comparison = new Comparison(golden, tolerance);
    const scenario = new Scenario(runner, run, golden, comparison);
    scenario[name]();
    scenario.continueGreedily();
    scenario.release();
    return comparison.report(name);
  });
}

type Run = (plan: Omit<StepPlan, 'step'>) => readonly ChunkLogits[];

class Scenario {
  readonly #runner: ProbedRunner;
  readonly #run: Run;
  readonly #golden: Golden;
  readonly #comparison: Comparison;
  readonly #usedSlots = new Set<number>();
  /** Of the golden's sequence. */
  #slot = 0;

  constructor(runner: ProbedRunner, run: Run, golden: Golden, comparison: Comparison) {
    this.#runner = runner;
    this.#run = run;
    this.#golden = golden;
    this.#comparison = comparison;
  }

  /** The prompt in one step. */
  whole(): void {
    this.#prompt([this.#golden.prompt.length]);
  }

  /** One token a step, with the cache. */
  stepwise(): void {
    this.#prompt(this.#golden.prompt.map(() => 1));
  }

  /** Chunks of uneven sizes: one that ends inside a block, one of a single row, the rest. */
  chunks(): void {
    const length = this.#golden.prompt.length;
    const sizes = [5, 16, 1].filter((_, i, all) => all.slice(0, i + 1).reduce((sum, size) => sum + size, 0) < length);
    this.#prompt([...sizes, length - sizes.reduce((sum, size) => sum + size, 0)]);
  }

  /** Beside three other sequences, one of which decodes; in a slot that is not the first. */
  batch(): void {
    const { prompt } = this.#golden;
    const others = [[...prompt].reverse(), prompt.slice(1), prompt.slice(0, -1).reverse()];
    this.#run({ release: [], copies: [], chunks: [this.#chunk(0, 0, others[0]!, 'none')] });
    this.#slot = 2;
    const chunks = [
      this.#chunk(0, others[0]!.length, [prompt[0]!], 'last'),
      this.#chunk(1, 0, others[1]!, 'last'),
      this.#chunk(2, 0, prompt, 'all'),
      this.#chunk(3, 0, others[2]!, 'none'),
    ];
    const logits = this.#run({ release: [], copies: [], chunks })[2]!;
    this.#compareRows(logits, 0);
    this.#compareInside(1 + others[1]!.length + prompt.length - 1);
  }

  continueGreedily(): void {
    const { prompt, continuation } = this.#golden;
    let token = this.#comparison.firstToken;
    const tokens = [token];
    while (tokens.length < continuation.length) {
      const position = prompt.length + tokens.length - 1;
      const [best] = this.#run({
        release: [],
        copies: [],
        chunks: [this.#chunk(this.#slot, position, [token], 'best')],
      });
      assert(best?.kind === 'best', 'the best token was asked for');
      token = best.token;
      tokens.push(token);
    }
    this.#comparison.continuation(tokens);
  }

  release(): void {
    this.#run({ release: [...this.#usedSlots], copies: [], chunks: [] });
  }

  #prompt(sizes: readonly number[]): void {
    let position = 0;
    for (const size of sizes) {
      const tokens = this.#golden.prompt.slice(position, position + size);
      const [logits] = this.#run({
        release: [],
        copies: [],
        chunks: [this.#chunk(this.#slot, position, tokens, 'all')],
      });
      this.#compareRows(logits!, position);
      position += size;
    }
    this.#compareInside(sizes.at(-1)! - 1);
  }

  #chunk(
    slot: number,
    firstPosition: number,
    tokens: readonly number[],
    logits: SequenceChunk['logits'],
  ): SequenceChunk {
    this.#usedSlots.add(slot);
    return { slot, firstPosition, tokens: Int32Array.from(tokens), logits };
  }

  #compareRows(logits: ChunkLogits, firstPosition: number): void {
    assert(logits.kind === 'rows', 'every row was asked for');
    for (const [i, row] of logits.rows.entries()) this.#comparison.logits(firstPosition + i, row);
  }

  #compareInside(lastRow: number): void {
    this.#comparison.inside(this.#runner.hidden(lastRow), this.#runner.routing(lastRow));
  }
}
