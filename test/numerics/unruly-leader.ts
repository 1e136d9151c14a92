/** Jobs of a leader that end badly, each in its own way. */
import type { RankContext } from '../../workers/rank/rank-context.ts';
import type { RunLeader } from '../../workers/rank/rank-messages.ts';

export type Misbehaviour = 'throw' | 'exit' | 'crash' | 'linger' | 'finish';

export const runLeader: RunLeader = ({ post, checkAbort, runner }: RankContext, misbehaviour: Misbehaviour) => {
  post('here');
  const word = new Int32Array(new SharedArrayBuffer(4));
  switch (misbehaviour) {
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
