/**
 * What one rank does in a case of the collective contract. Every rank runs the same scenario in a thread of its own and knows
 * what everybody contributes, so it checks its own results; it answers 'ok' or says what was wrong.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Collective } from '../../workers/collectives/collective.ts';

export interface ScenarioContext {
  readonly collective: Collective;
  /** Slices of the team's memory: longer parts travel in several. */
  readonly sliceBytes: number;
  /** Blocks the thread for so long; nothing else a rank does takes time. */
  sleep(ms: number): void;
  /** Tells the test that the rank has got this far. */
  reach(): void;
}

export type Scenario = (context: ScenarioContext) => string;

/** Numbers in [0, 2^32) that depend on all arguments: what a rank contributes, known to all. */
function noise(seed: number, index: number): number {
  let x = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  x ^= x >>> 15;
  x = Math.imul(x, 0x2c1b3c6d);
  return (x ^ (x >>> 12)) >>> 0;
}

/** Floats of very different sizes, so that another order of additions gives other bits. */
function floatsOf(rank: number, call: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const word = noise(1000 * call + rank, i);
    return (word / 2 ** 31 - 1) * 10 ** ((word % 13) - 6);
  });
}

function bytesOf(rank: number, call: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => noise(1000 * call + rank, i));
}

function expectedSum(ranks: number, call: number, length: number): Float32Array {
  const sum = floatsOf(0, call, length);
  for (let rank = 1; rank < ranks; rank++) {
    const part = floatsOf(rank, call, length);
    for (let i = 0; i < length; i++) sum[i] = sum[i]! + part[i]!;
  }
  return sum;
}

const sameBits = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.compare(
    new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
    new Uint8Array(b.buffer, b.byteOffset, b.byteLength),
  ) === 0;

function reduce({ collective }: ScenarioContext, call: number, length: number, inPlace: boolean): string | undefined {
  const part = inPlace ? collective.partBuffer(length) : new Float32Array(length);
  part.set(floatsOf(collective.rank, call, length));
  const sum = new Float32Array(length + 1).fill(7);
  collective.allReduce(part, length, sum);
  const isRight = sameBits(sum.subarray(0, length), expectedSum(collective.ranks, call, length)) && sum[length] === 7;
  return isRight ? undefined : `sum of ${length} floats in call ${call} is wrong`;
}

function gather({ collective }: ScenarioContext, call: number, lengthOf: (rank: number) => number): string | undefined {
  const parts = collective.allGather(bytesOf(collective.rank, call, lengthOf(collective.rank)));
  const expected = Array.from({ length: collective.ranks }, (_, rank) => [...bytesOf(rank, call, lengthOf(rank))]);
  const isRight = isDeepStrictEqual(
    parts.map((part) => [...part]),
    expected,
  );
  return isRight ? undefined : `gathered parts in call ${call} are wrong`;
}

function broadcast({ collective }: ScenarioContext, call: number, length: number): string | undefined {
  const bytes = bytesOf(0, call, length);
  const received = collective.broadcast(collective.rank === 0 ? bytes : undefined);
  return Buffer.compare(received, bytes) === 0 ? undefined : `broadcast of ${length} bytes in call ${call} is wrong`;
}

function firstFault(faults: Iterable<string | undefined>): string {
  for (const fault of faults) if (fault !== undefined) return fault;
  return 'ok';
}

function* sums(context: ScenarioContext): Generator<string | undefined> {
  const floats = context.sliceBytes / 4;
  let call = 0;
  for (const length of [1, 2, 7, 64, floats - 1, floats, floats + 1, 5 * floats + 3]) {
    yield reduce(context, call++, length, false);
    yield reduce(context, call++, length, true);
  }
}

function* gathers(context: ScenarioContext): Generator<string | undefined> {
  const { sliceBytes } = context;
  yield gather(context, 0, () => 0);
  yield gather(context, 1, (rank) => rank);
  yield gather(context, 2, (rank) => 100 * (rank + 1));
  yield gather(context, 3, () => sliceBytes);
  yield gather(context, 4, (rank) => (rank === 0 ? 3 * sliceBytes + 5 : rank));
  yield gather(context, 5, (rank) => (rank === 1 ? 2 * sliceBytes : 1));
}

function* broadcasts(context: ScenarioContext): Generator<string | undefined> {
  const { sliceBytes } = context;
  for (const [call, length] of [0, 1, 13, sliceBytes - 1, sliceBytes, sliceBytes + 1, 4 * sliceBytes + 9].entries()) {
    yield broadcast(context, call, length);
  }
}

/** What a step does, many times over, while every rank dawdles at moments of its own. */
function* dawdling(context: ScenarioContext): Generator<string | undefined> {
  const { collective, sliceBytes } = context;
  const dawdle = (call: number): void => {
    const word = noise(77 + collective.rank, call);
    if (word % 8 === 0) context.sleep((word >>> 8) % 3);
  };
  for (let call = 0; call < 400; call++) {
    dawdle(2 * call);
    const kind = noise(5, call) % 4;
    const length = 1 + (noise(6, call) % 300);
    if (kind === 0) yield broadcast(context, call, length);
    if (kind === 1) yield gather(context, call, (rank) => (length * (rank + 1)) % (2 * sliceBytes));
    if (kind === 2) yield reduce(context, call, length, true);
    if (kind === 3) yield reduce(context, call, length, false);
    dawdle(2 * call + 1);
  }
}

export const scenarios = {
  sums: (context) => firstFault(sums(context)),
  gathers: (context) => firstFault(gathers(context)),
  broadcasts: (context) => firstFault(broadcasts(context)),
  dawdling: (context) => firstFault(dawdling(context)),

  /** Rank 0 has no work for longer than a deadline; the others wait for it. */
  patience: (context) => {
    if (context.collective.rank === 0) context.sleep(700);
    return firstFault([broadcast(context, 0, 10), reduce(context, 1, 10, true)]);
  },

  /** The last rank never comes. */
  absence: (context) => {
    const { collective } = context;
    if (collective.rank === collective.ranks - 1) {
      context.sleep(900);
      return 'stayed away';
    }
    return reduce(context, 0, 5, false) ?? 'ok';
  },

  /** All wait without a limit for rank 0, which only sleeps: somebody has to end it from outside. */
  idleness: (context) => {
    const { collective } = context;
    const fault = reduce(context, 0, 5, false);
    context.reach();
    if (collective.rank === 0) {
      context.sleep(500);
      return fault ?? 'slept';
    }
    return broadcast(context, 1, 1) ?? 'ok';
  },

  /** Goes round until somebody ends it. */
  circling: (context) => {
    for (let call = 0; call < 1_000_000; call++) {
      const fault = reduce(context, call, 50, true);
      if (fault) return fault;
      if (call === 20) context.reach();
    }
    return 'nobody ended it';
  },

  /** Rank 0 aborts, twice. */
  quitting: (context) => {
    const { collective } = context;
    const fault = reduce(context, 0, 5, false);
    if (fault) return fault;
    if (collective.rank !== 0) return broadcast(context, 1, 1) ?? 'ok';
    collective.abort('rank 0 has had enough');
    collective.abort('and says so again');
    return 'quit';
  },
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof scenarios;
