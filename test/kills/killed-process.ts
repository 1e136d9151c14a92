/** Programs that are killed at points drawn from a seed: as they change the file system, or after some time. */
import path from 'node:path';
import fc from 'fast-check';
import { startProcess, type TestProcess } from '../harness/process.ts';

const root = path.join(import.meta.dirname, '..', '..');
const node = path.join(root, 'node_modules', '.bin', 'node');
const preload = path.join(import.meta.dirname, 'kill-at-call.ts');

export interface Kill {
  readonly signal: 'SIGKILL' | 'SIGINT';
  /** Before a call that changes the file system; around one by which something gets or loses its name; whatever is done at some time. */
  readonly at: 'change' | 'move-before' | 'move-after' | 'time';
  /** Of all such calls, or of all time, that an undisturbed run takes: 0 to 1. */
  readonly share: number;
}

export const anyKill: fc.Arbitrary<Kill> = fc.record({
  signal: fc.constantFrom('SIGKILL', 'SIGINT'),
  at: fc.constantFrom('change', 'move-before', 'move-after', 'time'),
  share: fc.nat({ max: 999 }).map((thousandths) => thousandths / 1000),
});

/** A script of this project and its arguments, on the Node of the package. */
export interface Program {
  readonly script: string;
  readonly arguments: readonly string[];
}

export function programOf(script: string, ...words: readonly string[]): Program {
  return { script: path.join(root, 'test', 'fixtures', script), arguments: words };
}

/** Words of the command line. */
export function commandOf({ script, arguments: words }: Program): readonly string[] {
  return [node, script, ...words];
}

/** Of an undisturbed run. */
export interface Profile {
  readonly changes: number;
  readonly moves: number;
  readonly ms: number;
}

export async function profileOf(program: Program): Promise<Profile> {
  const start = performance.now();
  const running = startWith(program, 'count');
  await running.exited;
  const ms = performance.now() - start;
  const [, changes, moves] = /^OK\nchanges (\d+), moves (\d+)\n$/.exec(running.output) ?? [];
  if (changes === undefined) throw new Error(`${program.script} did not come to its end: ${running.output}`);
  return { changes: Number(changes), moves: Number(moves), ms };
}

export function start({ script, arguments: words }: Program): TestProcess {
  return startProcess(node, [script, ...words]);
}

function startWith({ script, arguments: words }: Program, kill: string): TestProcess {
  return startProcess(node, ['--import', preload, script, ...words], { env: { TRIREME_KILL: kill } });
}

/** How a program ended: killed by the signal, by its own choice after SIGINT, or as if there had been none. */
export type KilledEnd = 'killed' | 'cancelled' | 'whole';

export interface KillOutcome<Stage extends string, Point = Kill> {
  readonly kill: Point;
  readonly end: KilledEnd;
  /** What was left. */
  readonly stage: Stage;
}

/** Throws when it ended in another way. */
export async function runKilled(program: Program, kill: Kill, { changes, moves, ms }: Profile): Promise<KilledEnd> {
  if (kill.at !== 'time') {
    const count = Math.floor(kill.share * (kill.at === 'change' ? changes : moves));
    return endOf(startWith(program, `${kill.at} ${count + 1} ${kill.signal}`));
  }
  const running = start(program);
  const timer = setTimeout(() => running.kill(kill.signal), kill.share * ms);
  try {
    return await endOf(running);
  } finally {
    clearTimeout(timer);
  }
}

export async function endOf(running: TestProcess): Promise<KilledEnd> {
  const { signal } = await running.exited;
  if (signal === 'SIGKILL' || signal === 'SIGINT') return 'killed';
  if (running.output === 'OK\n') return 'whole';
  if (running.output.startsWith('CANCELLED')) return 'cancelled';
  throw new Error(`ended with ${JSON.stringify(running.end)}: ${running.output}`);
}
