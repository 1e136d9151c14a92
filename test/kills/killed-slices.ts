/**
 * Slicings in real processes that are killed or interrupted at points drawn from a seed, and then run to the end. Whatever is under the
 * package's name at any time is a whole package; in the end it has the bytes of an undisturbed run, and ranks that were whole before are
 * not written again.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { slice } from '../../workers/slicer/slice.ts';
import { digestsOf, temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import {
  anyKill,
  endOf,
  type Kill,
  type KillOutcome,
  type Profile,
  type Program,
  profileOf,
  programOf,
  runKilled,
  start,
} from './killed-process.ts';
import { MadeSources, type SlicedSource, slicedSources } from './sliced-sources.ts';

export interface SliceScenario {
  readonly source: SlicedSource;
  readonly weights: WeightFormat;
  readonly ranks: number;
  readonly threads: number;
  /** Whether another package lies in the place. */
  readonly replaces: boolean;
  readonly kills: readonly Kill[];
}

const scenario: fc.Arbitrary<SliceScenario> = fc.constantFrom(...slicedSources).chain((source) =>
  fc.record({
    source: fc.constant(source),
    weights: fc.constantFrom(...source.weights),
    ranks: fc.constantFrom(...source.rankCounts),
    threads: fc.nat({ max: 2 }),
    replaces: fc.boolean(),
    kills: fc.array(anyKill, { minLength: 1, maxLength: 3 }),
  }),
);

export const sliceStages = [
  'nothing',
  'no rank whole',
  'some ranks whole',
  'all ranks whole',
  'package in place',
] as const;

type SliceStage = (typeof sliceStages)[number];

export interface KilledSlice {
  readonly scenario: SliceScenario;
  readonly kills: readonly KillOutcome<SliceStage>[];
  /** That the last run took over. */
  readonly resumedRanks: number;
  /** What was not as it should be. */
  readonly failures: readonly string[];
}

export async function killedSlices(seed: number, count: number): Promise<readonly KilledSlice[]> {
  await using folder = await temporaryFolder();
  const sources = new MadeSources(folder.path);
  const results: KilledSlice[] = [];
  for (const one of fc.sample(scenario, { seed, numRuns: count })) {
    await using place = await temporaryFolder();
    results.push(await new SliceTrial(one, await sources.get(one.source), place.path).run());
  }
  return results;
}

class SliceTrial {
  readonly #scenario: SliceScenario;
  readonly #model: string;
  /** Where the package goes. */
  readonly #folder: string;
  readonly #failures: string[] = [];
  #whole: Record<string, string> = {};
  #replaced: Record<string, string> | undefined;

  constructor(one: SliceScenario, model: string, folder: string) {
    this.#scenario = one;
    this.#model = model;
    this.#folder = path.join(folder, 'out');
  }

  async run(): Promise<KilledSlice> {
    const { kills, replaces } = this.#scenario;
    const elsewhere = path.join(path.dirname(this.#folder), 'undisturbed');
    const profile = await profileOf(this.#program(elsewhere));
    this.#whole = await digestsOf(elsewhere);
    if (replaces) {
      await slice({ model: this.#model, out: this.#place, ranks: 1, weights: 'fp32', companions: false });
      this.#replaced = await digestsOf(this.#place);
    }
    const outcomes = [];
    for (const kill of kills) outcomes.push(await this.#kill(kill, profile));
    const resumedRanks = await this.#finish();
    return { scenario: this.#scenario, kills: outcomes, resumedRanks, failures: this.#failures };
  }

  get #place(): string {
    return path.join(this.#folder, 'package');
  }

  get #hidden(): string {
    return path.join(this.#folder, '.package.slicing');
  }

  #program(out: string): Program {
    const { ranks, weights, threads } = this.#scenario;
    const options = ['--ranks', `${ranks}`, '--weights', weights, '--threads', `${threads}`];
    return programOf('slice-process.ts', this.#model, out, ...options);
  }

  async #kill(kill: Kill, profile: Profile): Promise<KillOutcome<SliceStage>> {
    const end = await runKilled(this.#program(this.#place), kill, profile);
    const left = await namesIn(this.#folder);
    const records = (await namesIn(this.#hidden)).filter((name) => /^rank-\d+[.]json$/.test(name));
    const isHidden = left.includes(path.basename(this.#hidden));
    await this.#checkPlace(left.includes('package'));
    if (end === 'cancelled' && isHidden && records.length === 0)
      this.#failures.push('a cancelled run left no rank, but a folder');
    if (end === 'whole' && isHidden) this.#failures.push('a run that ended left its hidden folder');
    return { kill, end, stage: this.#stageOf(isHidden, records.length) };
  }

  /** What is under the package's name is whole: the new one, or the one that was there before. */
  async #checkPlace(isThere: boolean): Promise<void> {
    if (!isThere) {
      const isAside = (await namesIn(this.#hidden)).includes('replaced');
      if (this.#replaced && !isAside) this.#failures.push('the package that was to be replaced is gone');
      return;
    }
    const found = await digestsOf(this.#place);
    if (isDeepStrictEqual(found, this.#whole)) this.#replaced = found;
    else if (!isDeepStrictEqual(found, this.#replaced)) this.#failures.push('what is in the place is no whole package');
  }

  #stageOf(isHidden: boolean, recordCount: number): SliceStage {
    if (this.#replaced && isDeepStrictEqual(this.#replaced, this.#whole)) return 'package in place';
    if (!isHidden) return 'nothing';
    if (recordCount === 0) return 'no rank whole';
    return recordCount < this.#scenario.ranks ? 'some ranks whole' : 'all ranks whole';
  }

  /** Runs to the end; returns how many ranks were taken over. */
  async #finish(): Promise<number> {
    const before = await this.#wholeRanks();
    const end = await endOf(start(this.#program(this.#place)));
    if (end !== 'whole') this.#failures.push(`the last run was ${end}`);
    const left = await namesIn(this.#folder);
    if (!isDeepStrictEqual(left, ['package'])) this.#failures.push(`${left.join(', ')} was left in the end`);
    if (!isDeepStrictEqual(await digestsOf(this.#place), this.#whole)) this.#failures.push('other bytes in the end');
    let resumedRanks = 0;
    for (const [rank, inode] of before) {
      if ((await inodeOf(path.join(this.#place, weightsOf(rank)))) === inode) resumedRanks++;
      else this.#failures.push(`${rank} was whole and was written again`);
    }
    return resumedRanks;
  }

  /** Ranks with a record that lie in the hidden folder, and the inodes of their weights. */
  async #wholeRanks(): Promise<ReadonlyMap<string, bigint>> {
    const ranks = new Map<string, bigint>();
    for (const record of await namesIn(this.#hidden)) {
      const rank = /^(rank-\d+)[.]json$/.exec(record)?.[1];
      const inode = rank && (await inodeOf(path.join(this.#hidden, 'package', weightsOf(rank))));
      // A kill may fall into the writing of a record, which then says nothing.
      if (rank && inode && (await holdsJson(path.join(this.#hidden, record)))) ranks.set(rank, inode);
    }
    return ranks;
  }
}

async function holdsJson(file: string): Promise<boolean> {
  try {
    JSON.parse(await readFile(file, 'utf8'));
    return true;
  } catch {
    // Cut off.
    return false;
  }
}

const weightsOf = (rank: string): string => path.join(rank, 'weights.bin');

async function inodeOf(file: string): Promise<bigint | undefined> {
  return stat(file, { bigint: true }).then(
    ({ ino }) => ino,
    () => undefined,
  );
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch((): string[] => [])).sort();
}
