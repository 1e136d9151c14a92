/** Jobs of a leader that end badly, each in its own way, once they are let. */
import type { RankContext } from '../../workers/rank/rank-context.ts';
import type { RunLeader } from '../../workers/rank/rank-messages.ts';

export type Misbehaviour = 'throw' | 'exit' | 'crash' | 'linger' | 'finish';

export interface UnrulyJob {
  readonly misbehaviour: Misbehaviour;
  /**
   * One word: 0 until the leader may misbehave. What a leader does before the team's owner knows that all ranks are warm
   * ends the start of the team, not the team.
   */
  readonly gate: SharedArrayBuffer;
}

const napMs = 100;

export function openGate(gate: SharedArrayBuffer): void {
  const word = new Int32Array(gate);
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
}

export function awaitGate(gate: SharedArrayBuffer, checkAbort: () => void): void {
  const word = new Int32Array(gate);
  while (Atomics.load(word, 0) === 0) {
    checkAbort();
    Atomics.wait(word, 0, 0, napMs);
  }
}

export const runLeader: RunLeader = ({ post, checkAbort, runner }: RankContext, job: UnrulyJob) => {
  post('here');
  awaitGate(job.gate, checkAbort);
  const word = new Int32Array(new SharedArrayBuffer(4));
  switch (job.misbehaviour) {
    case 'throw':
      throw new Error('something broke');
    case 'exit':
      process.exit(3);
      break;
    case 'crash':
      // What a fault in native code comes to.
      process.kill(process.pid, 'SIGSEGV');
      break;
    case 'linger':
      for (;;) {
        checkAbort();
        Atomics.wait(word, 0, 0, 5);
      }
    case 'finish':
      runner.run({ step: 1, release: [], copies: [], chunks: [] });
  }
};
