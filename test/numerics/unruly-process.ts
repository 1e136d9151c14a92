/**
 * A process that leads a group over TCP and whose leader misbehaves: package path and misbehaviour are arguments. Says where
 * its gate is; is told the addresses of all ranks, and then, by any message, that the leader may.
 */
import { once } from 'node:events';
import { openRankGate } from '../../workers/collectives/rank-gate.ts';
import { RankTeam } from '../../workers/rank/rank-team.ts';
import { openGate } from './unruly-leader.ts';

const [packagePath = '', misbehaviour] = process.argv.slice(2);
const gate = await openRankGate('127.0.0.1:0');
const told = once(process, 'message') as Promise<[string[]]>;
process.send?.(gate.address);
const [addresses] = await told;
const mayMisbehave = once(process, 'message');
const leaderGate = new SharedArrayBuffer(4);
await RankTeam.start({
  packagePath,
  ranks: 2,
  localRanks: [0],
  serving: { kvBlocks: 8, maxSequences: 2, stepTokens: 16, maxWaiting: 0, adapters: undefined },
  job: { module: new URL('./unruly-leader.ts', import.meta.url).href, data: { misbehaviour, gate: leaderGate } },
  remote: { gate, group: 'g', epoch: 1, addresses, secret: Buffer.from('secret') },
  events: { onProgress: () => {}, onResult: () => {}, onOver: () => {}, onStuck: () => {} },
});
await mayMisbehave;
openGate(leaderGate);
