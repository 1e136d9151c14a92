/**
 * The threads that ranks run on. One that has done its work well waits here for the next model: an ended thread never gives
 * back all that it and its native libraries took, and a process that loads model after model would grow.
 */
import { Worker } from 'node:worker_threads';

const idle = new Set<Worker>();

/** A thread that waits for its first message, RankThreadData. It has no listeners but its keeper's. */
export function takeRankThread(): Worker {
  for (const thread of idle) {
    idle.delete(thread);
    thread.ref();
    return thread;
  }
  const thread = new Worker(new URL('./rank-thread.ts', import.meta.url), { name: 'rank' });
  thread.once('exit', () => idle.delete(thread));
  return thread;
}

/** For a thread that has said 'finished'. The process may end while it waits. */
export function keepRankThread(thread: Worker): void {
  thread.unref();
  idle.add(thread);
}
