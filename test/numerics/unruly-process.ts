/** A process that leads a group over TCP and whose leader misbehaves: package path, ranks and misbehaviour are arguments. */
import { openRankGate } from '../../workers/collectives/rank-gate.ts';
import { RankTeam } from '../../workers/rank/rank-team.ts';

const [packagePath = '', misbehaviour] = process.argv.slice(2);
const gate = await openRankGate('127.0.0.1:0');
process.send?.(gate.address);
process.once('message', (addresses: string[]) => {
  void RankTeam.start({
    packagePath,
    ranks: 2,
    localRanks: [0],
    serving: { kvBlocks: 8, maxSequences: 2, stepTokens: 16, maxWaiting: 0 },
    job: { module: new URL('./unruly-leader.ts', import.meta.url).href, data: misbehaviour },
    remote: { gate, group: 'g', epoch: 1, addresses, secret: Buffer.from('secret') },
    events: { onProgress: () => {}, onResult: () => {}, onOver: () => {}, onStuck: () => {} },
  });
});
