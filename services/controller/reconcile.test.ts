/** The whole loop on a simulated cluster: what happens to groups when something happens to workers, store and wishes. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { groupKey } from '#proto/keys.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';
import { SimulatedCluster } from '../../test/fakes/simulated-cluster.ts';

let cluster: SimulatedCluster;

beforeEach(() => {
  cluster = new SimulatedCluster();
  cluster.startController('c1');
});

afterEach(async () => {
  await cluster.stop();
  expect(cluster.violations).toEqual([]);
});

async function served(group: string, limitMs = 5000): Promise<GroupRecord> {
  expect(await cluster.until(() => cluster.isServed(group), limitMs), `${group} is served`).toBe(true);
  return cluster.groups.get(group) ?? GroupRecord.fromPartial({});
}

/** Two groups of two ranks, each spread over two workers of its own. */
async function twoSpreadGroups(): Promise<void> {
  for (const id of ['w0', 'w1', 'w2', 'w3']) await cluster.startWorker(id, 1);
  await cluster.wish({ name: 'm', ranks: 2, groups: 2 });
  await served('m-0');
  await served('m-1');
}

function statesOf(group: string): string[] {
  const names = ['-', 'forming', 'warming', 'ready', 'draining', 'dead'];
  return cluster.history
    .filter((record) => record.group === group)
    .map(({ epoch, state }) => `${names[state]}@${epoch}`);
}

test('a group forms, warms and becomes ready at epoch 1, and then nothing more is written', async () => {
  await cluster.startWorker('w0', 2);
  await cluster.wish({ name: 'm', ranks: 2 });
  const record = await served('m-0');
  expect(statesOf('m-0')).toEqual(['forming@1', 'warming@1', 'ready@1']);
  expect(record).toMatchObject({ model: 'm', packageDigest: 'd1', packagePath: '/p', failure: '' });
  expect(record.ranks.map(({ rank, worker }) => [rank, worker])).toEqual([
    [0, 'w0'],
    [1, 'w0'],
  ]);
  await cluster.pass(60_000);
  expect(cluster.history).toHaveLength(3);
});

test('every worker of a formation gets the same secret', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.startWorker('w1', 1);
  await cluster.wish({ name: 'm', ranks: 2 });
  await served('m-0');
  const secrets = ['w0', 'w1'].map((id) => cluster.workers.get(id)?.fake.teams.get('m-0')?.secret);
  expect(secrets[0]).toHaveLength(32);
  expect(secrets[1]).toEqual(secrets[0]);
});

test('a group without room says so in its record and forms as soon as a worker comes', async () => {
  await cluster.wish({ name: 'm', ranks: 2 });
  await cluster.startWorker('w0', 1);
  await cluster.pass(1000);
  expect(cluster.groups.get('m-0')).toMatchObject({
    state: GroupState.GROUP_STATE_DEAD,
    failure: 'waits for room: needs 2 ranks, 1 free on 1 workers',
  });
  await cluster.startWorker('w1', 1);
  await served('m-0', 500);
});

test('a killed worker takes its group out of Ready within 2 s while its lease still stands, and the other group never notices', async () => {
  await twoSpreadGroups();
  cluster.kill('w1');
  expect(await cluster.until(() => cluster.stateOf('m-0') !== GroupState.GROUP_STATE_READY, 2000)).toBe(true);
  expect(cluster.groups.get('m-0')?.failure).toMatch(/^worker w1 is gone$|^waits for room/);
  expect(cluster.workers.get('w0')?.fake.teams.size).toBe(0);
  await cluster.startWorker('w1', 1);
  const record = await served('m-0', 1000);
  expect(record.epoch).toBe(2);
  expect(statesOf('m-1')).toEqual(['forming@1', 'warming@1', 'ready@1']);
});

test('a group moves to a worker that has room when its own is killed', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  await cluster.startWorker('w1', 1);
  cluster.kill('w0');
  expect(await cluster.until(() => cluster.groups.get('m-0')?.epoch === 2, 2000)).toBe(true);
  expect((await served('m-0')).ranks[0]?.worker).toBe('w1');
});

test('a worker that restarts before anybody misses it is noticed by its new incarnation', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  cluster.kill('w0');
  await cluster.startWorker('w0', 1);
  expect((await served('m-0', 1000)).epoch).toBe(2);
  expect(cluster.history.map(({ failure }) => failure)).toContain('worker w0 restarted');
});

test('a lost lease alone ends nothing: a worker that answers stays, and gets no new group', async () => {
  await cluster.startWorker('w0', 2);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  cluster.loseLease('w0');
  await cluster.wish({ name: 'm', groups: 2 });
  await cluster.pass(60_000);
  expect(statesOf('m-0')).toEqual(['forming@1', 'warming@1', 'ready@1']);
  expect(cluster.groups.get('m-1')?.failure).toMatch(/^waits for room/);
  await cluster.register('w0');
  await served('m-1');
  expect(cluster.groups.get('m-0')?.epoch).toBe(1);
});

test('a worker that answers nothing while its lease stands is only slow; without its lease it is given up', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  cluster.fleet.freeze('w0:1', true);
  await cluster.pass(60_000);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_READY);
  cluster.loseLease('w0');
  await cluster.pass(1000);
  expect(cluster.groups.get('m-0')?.state).toBe(GroupState.GROUP_STATE_DEAD);
  expect(cluster.history.at(-1)?.failure).toBe('worker w0 is silent');
});

test('a worker that wakes up with a team of an old epoch is told to end it', async () => {
  const sleeper = await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  cluster.fleet.freeze('w0:1', true);
  cluster.loseLease('w0');
  await cluster.startWorker('w1', 1);
  await cluster.until(() => cluster.isServed('m-0') && cluster.groups.get('m-0')?.epoch === 2, 10_000);
  cluster.fleet.freeze('w0:1', false);
  await cluster.register('w0');
  await cluster.pass(1000);
  expect(sleeper.teams.size).toBe(0);
  expect(cluster.groups.get('m-0')).toMatchObject({ epoch: 2, state: GroupState.GROUP_STATE_READY });
});

test('a team that ends by itself ends the group, and its other workers are told', async () => {
  await twoSpreadGroups();
  cluster.workers.get('w0')?.fake.teams.delete('m-0');
  expect(
    (await cluster.until(() => cluster.groups.get('m-0')?.epoch === 2, 2000)) && (await served('m-0')),
  ).toBeTruthy();
  expect(cluster.history.map(({ failure }) => failure)).toContain('the team on worker w0 ended');
  expect(cluster.groups.get('m-1')?.epoch).toBe(1);
});

test('a formation that fails on one worker ends on the others, says why, and is tried again after growing pauses', async () => {
  const good = await cluster.startWorker('w0', 1);
  const bad = await cluster.startWorker('w1', 1);
  bad.behaviour = 'fail';
  await cluster.wish({ name: 'm', ranks: 2 });
  const starts: number[] = [];
  cluster.embedded.watch(groupKey('m-0'), (event) => {
    if (event.kind !== 'put') return;
    if (GroupRecord.decode(event.entry.value).state === GroupState.GROUP_STATE_FORMING)
      starts.push(cluster.clock.now());
  });
  await cluster.pass(4000);
  expect(cluster.groups.get('m-0')?.failure).toBe('DIGEST_MISMATCH: worker w1: the package is not what it should be');
  expect([good.teams.size, bad.teams.size]).toEqual([0, 0]);
  const pauses = starts.map((at, index, all) => at - (all[index - 1] ?? at));
  expect(pauses.length).toBeGreaterThanOrEqual(4);
  expect(pauses.slice(2).every((pause, index) => pause >= 500 * 2 ** index)).toBe(true);
  bad.behaviour = 'warm';
  await served('m-0', 5000);
});

test('a formation that hangs is ended when nobody reports progress, also where it hung', async () => {
  const hung = await cluster.startWorker('w0', 1);
  hung.behaviour = 'hang';
  await cluster.wish({ name: 'm' });
  await cluster.pass(59_000);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_FORMING);
  hung.behaviour = 'warm';
  await served('m-0', 5000);
  expect(cluster.history.find(({ failure }) => failure)?.failure).toBe(
    'DEADLINE_EXCEEDED: no progress for 60000 ms: w0 at FORM_STAGE_VERIFYING. ' +
      'The log of the worker that is behind says what it does',
  );
});

test('a worker that is killed while a group forms fails the formation at once', async () => {
  const slow = await cluster.startWorker('w0', 1);
  slow.behaviour = 'hang';
  const other = await cluster.startWorker('w1', 1);
  await cluster.wish({ name: 'm', ranks: 2 });
  await cluster.pass(500);
  expect(other.teams.size).toBe(1);
  cluster.kill('w0');
  await cluster.pass(1000);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_DEAD);
  expect(other.teams.size).toBe(0);
});

test('a model that is removed drains, ends and is forgotten, but its epoch stays', async () => {
  const worker = await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  worker.running = 1;
  await cluster.unwish('m');
  await cluster.pass(10_000);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_DRAINING);
  worker.running = 0;
  await cluster.pass(1000);
  expect(cluster.groups.size).toBe(0);
  expect(worker.teams.size).toBe(0);
  await cluster.wish({ name: 'm' });
  expect((await served('m-0')).epoch).toBe(2);
});

test('a drain ends after its limit even when requests still run', async () => {
  const worker = await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  worker.running = 1;
  await cluster.unwish('m');
  await cluster.pass(59_000);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_DRAINING);
  await cluster.pass(2000);
  expect(cluster.groups.size).toBe(0);
});

test('new settings roll through one group at a time, and the others serve meanwhile', async () => {
  await twoSpreadGroups();
  await cluster.wish({ name: 'm', ranks: 2, groups: 2, packageDigest: 'd2' });
  let servingMin = 2;
  const rolled = (): boolean => {
    const records = [...cluster.groups.values()];
    servingMin = Math.min(servingMin, records.filter(({ state }) => state === GroupState.GROUP_STATE_READY).length);
    return records.every(({ group, packageDigest }) => packageDigest === 'd2' && cluster.isServed(group));
  };
  expect(await cluster.until(rolled, 20_000)).toBe(true);
  expect(servingMin).toBe(1);
  expect(new Set([...cluster.groups.values()].map(({ generation }) => generation)).size).toBe(1);
});

test('a group whose new settings could not be placed keeps serving with the old ones', async () => {
  await cluster.startWorker('w0', 2);
  await cluster.wish({ name: 'm', ranks: 2 });
  await served('m-0');
  await cluster.wish({ name: 'm', ranks: 3, packageDigest: 'd3' });
  await cluster.pass(10_000);
  expect(cluster.groups.get('m-0')).toMatchObject({ state: GroupState.GROUP_STATE_READY, packageDigest: 'd1' });
});

test('corrected settings are tried at once, whatever the pause after the failures before', async () => {
  const worker = await cluster.startWorker('w0', 1);
  worker.behaviour = 'fail';
  await cluster.wish({ name: 'm' });
  await cluster.pass(120_000);
  worker.behaviour = 'warm';
  await cluster.wish({ name: 'm', packageDigest: 'd2' });
  await served('m-0', 500);
});

test('while the store is away nothing ends, and what happened meanwhile is seen when it is back', async () => {
  await twoSpreadGroups();
  cluster.store.away = true;
  await cluster.pass(30_000);
  for (const { fake } of cluster.workers.values()) expect(fake.teams.size).toBe(1);
  cluster.kill('w3');
  await cluster.pass(3000);
  cluster.store.away = false;
  await cluster.pass(3000);
  expect(cluster.groups.get('m-0')).toMatchObject({ epoch: 1, state: GroupState.GROUP_STATE_READY });
  expect(cluster.groups.get('m-1')?.state).toBe(GroupState.GROUP_STATE_DEAD);
});

test('a formation goes on over the loss of the answer to its writes', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await cluster.until(() => cluster.stateOf('m-0') === GroupState.GROUP_STATE_FORMING, 1000);
  cluster.store.answersToLose = 2;
  expect((await served('m-0')).epoch).toBe(1);
});

test('a step whose write fails is planned again, and costs neither leadership nor the formations under way', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  const slow = await cluster.startWorker('w1', 1);
  slow.behaviour = 'hang';
  await cluster.wish({ name: 'm', groups: 2 });
  await cluster.until(() => cluster.stateOf('m-1') === GroupState.GROUP_STATE_FORMING, 1000);
  cluster.store.answersToLose = 1;
  cluster.kill('w0');
  await cluster.pass(5000);
  expect(cluster.store.answersToLose).toBe(0);
  expect(cluster.stateOf('m-0')).toBe(GroupState.GROUP_STATE_DEAD);
  await cluster.startWorker('w0', 1);
  expect((await served('m-0')).epoch).toBe(2);
  expect(statesOf('m-1')).toEqual(['forming@1']);
});

test('a broken invariant ends the controller, also while a formation hangs', async () => {
  const broken = new SimulatedCluster();
  const election = broken.startController('c1');
  const slow = await broken.startWorker('w0', 1);
  slow.behaviour = 'hang';
  await broken.wish({ name: 'm', groups: 2 });
  await broken.until(() => slow.teams.size === 1, 1000);
  broken.store.transact = () => Promise.reject(new TypeError('bug'));
  await broken.startWorker('w1', 1);
  await expect(election).rejects.toThrow('bug');
});

test('a new leader takes over Ready groups as they are, and forms anew what the old one left half-made', async () => {
  await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm' });
  await served('m-0');
  const half = await cluster.startWorker('w1', 1);
  half.behaviour = 'hang';
  await cluster.wish({ name: 'm', groups: 2 });
  await cluster.until(() => cluster.stateOf('m-1') === GroupState.GROUP_STATE_FORMING, 1000);
  cluster.startController('c2');
  await cluster.deposeLeader();
  half.behaviour = 'warm';
  await served('m-1');
  expect(cluster.groups.get('m-1')?.epoch).toBe(2);
  expect(cluster.history.map(({ failure }) => failure)).toContain('the controller that formed it is gone');
  expect(statesOf('m-0')).toEqual(['forming@1', 'warming@1', 'ready@1']);
});

test('a value in the store that nobody can read stops neither its group nor the others', async () => {
  await cluster.startWorker('w0', 2);
  await cluster.embedded.put(groupKey('m-0'), new Uint8Array([255, 255, 255]));
  await cluster.embedded.put(groupKey('other-0'), GroupRecord.encode(GroupRecord.fromPartial({})).finish());
  await cluster.wish({ name: 'm', groups: 2 });
  await served('m-0');
  await served('m-1');
});
