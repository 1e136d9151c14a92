/** What every Collective must do, whatever carries it. Run over teams of threads and of processes. */
import { expect, test } from 'vitest';
import type { ScenarioName } from './collective-scenarios.ts';

export interface CaseOptions {
  readonly scenario: ScenarioName;
  readonly deadlineMs?: number;
  /** Called once every rank has got to its reach(). */
  readonly onReached?: (team: RunningTeam) => void;
}

export interface RunningTeam {
  /** From outside the ranks. */
  abort(): void;
  /** The last rank is no more: its thread is ended, or its process killed. */
  kill(): void;
}

export interface CollectiveSetting {
  readonly name: string;
  readonly ranks: number;
  /** Ranks that go when the last one is killed. */
  readonly killedRanks: readonly number[];
  /** What each rank answered; undefined for one that was killed. */
  run(options: Required<CaseOptions>): Promise<readonly (string | undefined)[]>;
}

/** Small, so that parts of several slices are cheap. */
export const contractSliceBytes = 1024;

export function collectiveContract(setting: CollectiveSetting): void {
  const { name, ranks } = setting;
  const run = ({ scenario, deadlineMs = 20_000, onReached = () => {} }: CaseOptions) =>
    setting.run({ scenario, deadlineMs, onReached });
  const all = (outcome: string) => Array.from({ length: ranks }, () => outcome);

  test(`${name}: sums have the bits of additions in rank order, whatever the length`, async () => {
    expect(await run({ scenario: 'sums' })).toEqual(all('ok'));
  });

  test(`${name}: everybody gathers everybody's part, short, empty or longer than a slice`, async () => {
    expect(await run({ scenario: 'gathers' })).toEqual(all('ok'));
  });

  test(`${name}: what rank 0 broadcasts arrives whole, whatever its size`, async () => {
    expect(await run({ scenario: 'broadcasts' })).toEqual(all('ok'));
  });

  test(`${name}: ranks that dawdle never read a part of another call`, async () => {
    expect(await run({ scenario: 'dawdling' })).toEqual(all('ok'));
  });

  test(`${name}: waiting for a broadcast has no deadline`, async () => {
    expect(await run({ scenario: 'patience', deadlineMs: 300 })).toEqual(all('ok'));
  });

  test(`${name}: an abort by a rank ends every wait, and the first reason stays`, async () => {
    const [first, ...others] = await run({ scenario: 'quitting' });
    expect(first).toBe('quit');
    for (const outcome of others) expect(outcome).toBe('RANK_FAILED: rank 0 has had enough');
  });

  if (ranks === 1) return;

  test(`${name}: a rank that does not come ends the others by the deadline`, async () => {
    const outcomes = await run({ scenario: 'absence', deadlineMs: 300 });
    expect(outcomes.at(-1)).toBe('stayed away');
    for (const outcome of outcomes.slice(0, -1)) expect(outcome).toMatch(/did not come within 300 ms$/);
    expect(outcomes[0]).toMatch(/^(DEADLINE_EXCEEDED|RANK_FAILED): /);
  });

  test(`${name}: an abort from outside ends a wait that has no deadline`, async () => {
    const outcomes = await run({ scenario: 'idleness', onReached: (team) => team.abort() });
    for (const outcome of outcomes.slice(1)) expect(outcome).toBe('RANK_FAILED: somebody aborted');
  });

  test(`${name}: when a rank dies in mid-call the others end with RANK_FAILED`, async () => {
    const started = performance.now();
    const outcomes = await run({ scenario: 'circling', onReached: (team) => team.kill() });
    expect(performance.now() - started).toBeLessThan(10_000);
    for (const [rank, outcome] of outcomes.entries()) {
      if (setting.killedRanks.includes(rank)) expect(outcome).toBeUndefined();
      else expect(outcome).toMatch(/^RANK_FAILED: /);
    }
  });
}
