import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { Pooling, SamplingParams } from '#proto/inference.ts';
import type { EngineReport, EngineSubmit } from '#proto/rank.ts';
import { demoPackage } from '../../test/numerics/demo-package.ts';
import { startTeam } from './team.ts';
import type { Team } from './team-port.ts';

const golden = JSON.parse(readFileSync(new URL('../../test/goldens/demo.json', import.meta.url), 'utf8')) as {
  prompt: number[];
  continuation: { tokens: number[] };
};

/** What a team says, gathered; `until` waits for a report that satisfies. */
class Listener {
  readonly reports: EngineReport[] = [];
  readonly exits: TriremeError[] = [];
  readonly exited = Promise.withResolvers<TriremeError>();
  #wake = Promise.withResolvers<void>();

  onReport(report: EngineReport): void {
    this.reports.push(report);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  onExit(error: TriremeError): void {
    this.exits.push(error);
    this.exited.resolve(error);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#wake.promise;
  }

  tokensOf(requestId: string): number[] {
    const entries = this.reports.flatMap((report) => report.entries.flatMap(({ entry }) => entry ?? []));
    return entries.filter((entry) => entry.requestId === requestId).flatMap(({ tokenIds }) => tokenIds);
  }

  hasEnded(requestId: string): boolean {
    return this.reports.some(({ entries }) =>
      entries.some(({ entry }) => entry?.requestId === requestId && entry.finishReason !== undefined),
    );
  }

  get status() {
    return this.reports.at(-1)?.status;
  }
}

const teams: Team[] = [];
let packagePath: string;
beforeAll(async () => {
  packagePath = await demoPackage(2, 'fp32');
});
afterEach(async () => {
  await Promise.all(teams.splice(0).map((team) => team.stop()));
});

async function start(): Promise<{ team: Team; listener: Listener }> {
  const listener = new Listener();
  const team = await startTeam({
    packagePath,
    ranks: 2,
    localRanks: [0, 1],
    serving: { kvBlocks: 64, maxSequences: 4, stepTokens: 32, maxWaiting: 2, adapters: undefined },
    log: createLogger('silent'),
    events: {
      onProgress: () => {},
      onReport: (report) => listener.onReport(report),
      onExit: (error) => listener.onExit(error),
      onStuck: (error) => listener.onExit(error),
    },
  });
  teams.push(team);
  return { team, listener };
}

function submitOf(requestId: string, maxTokens = golden.continuation.tokens.length): EngineSubmit {
  const sampling = SamplingParams.fromPartial({ temperature: 0, maxTokens, ignoreEos: true });
  const submit = {
    requestId,
    attempt: 1,
    prompt: golden.prompt,
    emitted: [],
    sampling,
    n: 1,
    epoch: 1,
    adapter: '',
    pooling: Pooling.POOLING_UNSPECIFIED,
  };
  return { owner: 7, submit };
}

test('a submitted prompt comes back as the golden tokens, also beside others, and the counters return to zero', async () => {
  const { team, listener } = await start();
  const names = ['alone', 'one', 'two', 'colon:in:it'];
  team.send({ command: { $case: 'submit', value: submitOf('alone') } });
  await listener.until(() => listener.hasEnded('alone'));
  for (const name of names.slice(1)) team.send({ command: { $case: 'submit', value: submitOf(name) } });
  await listener.until(() => names.every((name) => listener.hasEnded(name)));
  for (const name of names) expect(listener.tokensOf(name)).toEqual(golden.continuation.tokens);
  const answers = listener.reports.flatMap((report) => report.answers);
  expect(answers.map(({ requestId, refusalCode }) => [requestId, refusalCode])).toEqual(
    names.map((name) => [name, '']),
  );
  expect(listener.status).toMatchObject({ running: 0, waiting: 0, freeBlocks: 64, freeSequences: 4 });
  expect(listener.reports.every(({ entries }) => entries.every(({ owner }) => owner === 7))).toBe(true);
});

test('a cancelled request says no more and gives its blocks back', async () => {
  const { team, listener } = await start();
  team.send({ command: { $case: 'submit', value: submitOf('long', 900) } });
  await listener.until(() => listener.tokensOf('long').length > 3);
  team.send({ command: { $case: 'cancel', value: { owner: 7, requestId: 'long', attempt: 1, choices: [] } } });
  await listener.until(() => listener.status?.running === 0);
  expect(listener.hasEnded('long')).toBe(false);
  expect(listener.status?.freeBlocks).toBe(64);
});

test('a request that cannot run is refused with its code', async () => {
  const { team, listener } = await start();
  const value = submitOf('negative');
  value.submit!.sampling!.maxTokens = -1;
  team.send({ command: { $case: 'submit', value } });
  await listener.until(() => listener.reports.some(({ answers }) => answers.length > 0));
  const [answer] = listener.reports.flatMap(({ answers }) => answers);
  expect(answer).toMatchObject({ requestId: 'negative', refusalCode: 'INVALID_ARGUMENT' });
});

test('stopping ends a team in mid-stream without an exit, and it takes nothing more', async () => {
  const { team, listener } = await start();
  team.send({ command: { $case: 'submit', value: submitOf('cut', 900) } });
  await listener.until(() => listener.tokensOf('cut').length > 3);
  await team.stop();
  await team.stop();
  expect(team.send({ command: { $case: 'submit', value: submitOf('late') } })).toBe(false);
  expect(listener.exits).toEqual([]);
});

test('an aborted team exits once with RANK_FAILED and the reason', async () => {
  const { team, listener } = await start();
  team.abort('the test says so');
  expect(await listener.exited.promise).toMatchObject({ code: 'RANK_FAILED', message: 'the test says so' });
  await team.stop();
  expect(listener.exits).toHaveLength(1);
});
