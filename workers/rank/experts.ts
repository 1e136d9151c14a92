/**
 * Runs the chosen experts of a layer: rows are gathered by expert, each expert is one call over its rows, and results are
 * added to the rows they came from. Experts go in ascending order, so a row's sum has one order of additions whatever
 * rows are beside it.
 */
import type { ExpertChoice } from '../models/routing.ts';
import { expertRange, type RankShard } from '../models/shard.ts';
import type { ExpertsSpec } from '../models/spec.ts';
import type { Io, Runtime, Session } from '../runtime/runtime.ts';
import { Rows } from './step-tensors.ts';

/** The sessions of a layer's experts, by expert; undefined where another rank has it. */
export function openExperts(
  mlp: ExpertsSpec,
  shard: RankShard,
  open: (expert: number) => Session,
): readonly (Session | undefined)[] {
  const { first, count } = expertRange(mlp, shard);
  return Array.from({ length: mlp.experts }, (_, expert) =>
    expert >= first && expert < first + count ? open(expert) : undefined,
  );
}

export class ExpertRunner {
  readonly #gathered: Rows;
  readonly #results: Rows;
  readonly #io: Io;
  readonly #width: number;
  /** Per expert: where its (row, weight) pairs start in the two arrays below. */
  readonly #starts: Int32Array;
  readonly #pairRows: Int32Array;
  readonly #pairWeights: Float32Array;

  constructor(runtime: Runtime, options: { maxRows: number; hidden: number; experts: number; chosen: number }) {
    this.#width = options.hidden;
    this.#gathered = new Rows(runtime, options.maxRows, options.hidden);
    this.#results = new Rows(runtime, options.maxRows, options.hidden);
    this.#io = runtime.io(['hidden'], ['out']);
    this.#starts = new Int32Array(options.experts + 1);
    this.#pairRows = new Int32Array(options.maxRows * options.chosen);
    this.#pairWeights = new Float32Array(options.maxRows * options.chosen);
  }

  /** sum[row] += weighted sum of the row's experts over hidden[row], of those experts that are here; both [rows, hidden]. */
  addTo(
    sum: Float32Array,
    sessions: readonly (Session | undefined)[],
    hidden: Rows,
    rows: number,
    choice: ExpertChoice,
    chosen: number,
  ): void {
    this.#sort(rows * chosen, chosen, sessions.length, choice);
    for (let expert = 0; expert < sessions.length; expert++) {
      const start = this.#starts[expert]!;
      const count = this.#starts[expert + 1]! - start;
      const session = sessions[expert];
      if (count > 0 && session) this.#runExpert(session, start, count, hidden, sum);
    }
  }

  #runExpert(session: Session, start: number, count: number, hidden: Rows, sum: Float32Array): void {
    if (count === 1) this.#io.input(0, hidden.single(this.#pairRows[start]!));
    else this.#gather(start, count, hidden);
    this.#io.output(0, this.#results.first(count));
    session.run(this.#io);
    const width = this.#width;
    const results = this.#results.data;
    for (let i = 0; i < count; i++) {
      addScaled(sum, this.#pairRows[start + i]! * width, results, i * width, width, this.#pairWeights[start + i]!);
    }
  }

  #gather(start: number, count: number, hidden: Rows): void {
    const width = this.#width;
    for (let i = 0; i < count; i++) {
      const row = this.#pairRows[start + i]!;
      this.#gathered.data.set(hidden.data.subarray(row * width, (row + 1) * width), i * width);
    }
    this.#io.input(0, this.#gathered.first(count));
  }

  /** Counting sort of (row, expert) pairs by expert; rows ascend within one. */
  #sort(pairs: number, chosen: number, experts: number, choice: ExpertChoice): void {
    const starts = this.#starts.fill(0);
    for (let i = 0; i < pairs; i++) starts[choice.experts[i]! + 1]!++;
    for (let expert = 0; expert < experts; expert++) starts[expert + 1]! += starts[expert]!;
    for (let i = 0; i < pairs; i++) {
      const place = starts[choice.experts[i]!]!++;
      this.#pairRows[place] = (i / chosen) | 0;
      this.#pairWeights[place] = choice.weights[i]!;
    }
    // Placing moved every start to the next expert's; move them back.
    starts.copyWithin(1, 0, experts);
    starts[0] = 0;
  }
}

function addScaled(
  sum: Float32Array,
  sumStart: number,
  values: Float32Array,
  valuesStart: number,
  count: number,
  weight: number,
): void {
  for (let i = 0; i < count; i++) sum[sumStart + i] = sum[sumStart + i]! + weight * values[valuesStart + i]!;
}
