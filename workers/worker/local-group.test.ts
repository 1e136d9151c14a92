import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { ServingSettings } from '#proto/records.ts';
import { FakeTeams } from '../../test/fakes/fake-team.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import type { Team } from '../rank/team-port.ts';
import { defaultLimits } from './limits.ts';
import { LocalGroup } from './local-group.ts';
import type { TeamHost } from './team-port.ts';

const folder = mkdtempSync(join(tmpdir(), 'group-'));
writeFileSync(join(folder, 'manifest.json'), '{}');
afterAll(() => rmSync(folder, { recursive: true }));

function create(teams: TeamHost, clock: ManualClock): LocalGroup {
  const serving = ServingSettings.fromPartial({});
  const ranks = { ranks: [], localRanks: [0], secret: new Uint8Array() };
  const digest = createHash('sha256').update('{}').digest('hex');
  return new LocalGroup({ group: 'g', epoch: 1, packagePath: folder, serving, ...ranks }, digest, {
    workerIncarnation: 'w',
    teams,
    limits: defaultLimits,
    clock,
    log: createLogger('silent'),
    publish: () => {},
    isBusLost: () => false,
    onStep: () => {},
  });
}

const never = new AbortController().signal;
const end = new TriremeError('UNAVAILABLE', 'not wanted any more');

test('a team that is warm too late, or exits before its start has returned, is stopped and leaves no timer', async () => {
  for (const tooLate of ['ended', 'exited'] as const) {
    const clock = new ManualClock();
    const teams = new FakeTeams();
    const host: TeamHost = {
      rankAddress: '',
      close: async () => {},
      start: async (formation, events): Promise<Team> => {
        const team = await teams.start(formation, events, never);
        if (tooLate === 'ended') void group.end(end);
        else teams.last.exit('rank 0 exited');
        return team;
      },
    };
    const group = create(host, clock);
    const code = tooLate === 'ended' ? 'UNAVAILABLE' : 'RANK_FAILED';
    await expect(group.form(() => {}, never)).rejects.toMatchObject({ code });
    expect([teams.last.stopCount, clock.timerCount, group.isOver, group.desk]).toEqual([1, 0, true, undefined]);
  }
});

test('a report that comes before the start has returned is not lost', async () => {
  const teams = new FakeTeams();
  const host: TeamHost = {
    rankAddress: '',
    close: async () => {},
    start: async (formation, events): Promise<Team> => {
      const team = await teams.start(formation, events, never);
      teams.last.report({ status: { totalBlocks: 9 } });
      return team;
    },
  };
  const group = create(host, new ManualClock());
  await group.form(() => {}, never);
  expect(group.describe()).toMatchObject({ leader: true, ready: true, status: { totalBlocks: 9 } });
  await group.end(end);
  expect(group.isOver).toBe(true);
});
