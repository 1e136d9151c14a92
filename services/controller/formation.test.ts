import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { type FormProgress, type FormRequest, FormStage } from '#proto/control.ts';
import { GroupRecord } from '#proto/records.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { runFormation } from './formation.ts';

const { FORM_STAGE_LOADING, FORM_STAGE_JOINING } = FormStage;
const ranks = ['w0', 'w0', 'w1'].map((worker, rank) => ({ rank, worker, address: `${worker}:1` }));
const record = GroupRecord.fromPartial({ group: 'm-0', epoch: 1, ranks });

interface Call {
  readonly request: FormRequest;
  readonly progress: (stage: FormStage) => void;
  readonly end: (error?: TriremeError) => void;
  readonly signal: AbortSignal;
}

/** A formation whose workers do what the test says. */
class Rehearsal {
  readonly clock = new ManualClock();
  readonly calls = new Map<string, Call>();
  readonly edges: string[] = [];
  readonly outer = new AbortController();
  readonly outcome: Promise<unknown>;
  isOver = false;

  constructor() {
    const form = (
      address: string,
      request: FormRequest,
      onProgress: (progress: FormProgress) => void,
      signal: AbortSignal,
    ): Promise<void> => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const progress = (stage: FormStage) => onProgress({ stage, done: 0, total: 0 });
      this.calls.set(address, { request, progress, end: (error) => (error ? reject(error) : resolve()), signal });
      return promise;
    };
    const workers = {
      form,
      disband: () => Promise.reject(new Error('not asked')),
      describe: () => Promise.reject(new Error('not asked')),
      close: () => {},
    };
    const onLoaded = async (): Promise<void> => void this.edges.push('loaded');
    const onWarm = async (): Promise<void> => void this.edges.push('warm');
    const options = { workers, clock: this.clock, record, secret: new Uint8Array([7]), stallMs: 1000 };
    this.outcome = runFormation({ ...options, onLoaded, onWarm }, this.outer.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    void this.outcome.then(() => {
      this.isOver = true;
    });
  }

  at(worker: string): Call {
    const call = this.calls.get(`${worker}:1`);
    if (!call) throw new Error(`${worker} was not asked`);
    return call;
  }

  async atRest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('every worker is asked once, with record and secret, all at the same time', () => {
  const { calls } = new Rehearsal();
  expect([...calls].map(([address, { request }]) => [address, request])).toEqual(
    ['w0:1', 'w1:1'].map((address) => [address, { group: record, secret: new Uint8Array([7]) }]),
  );
});

test('the group has loaded when its last worker has, and is warm when the last is; no timer remains', async () => {
  const rehearsal = new Rehearsal();
  rehearsal.at('w0').progress(FORM_STAGE_JOINING);
  rehearsal.at('w1').progress(FORM_STAGE_LOADING);
  await rehearsal.atRest();
  expect(rehearsal.edges).toEqual([]);
  rehearsal.at('w1').progress(FORM_STAGE_JOINING);
  rehearsal.at('w1').end();
  await rehearsal.atRest();
  expect(rehearsal.edges).toEqual(['loaded']);
  rehearsal.at('w0').end();
  expect(await rehearsal.outcome).toBeUndefined();
  expect(rehearsal.edges).toEqual(['loaded', 'warm']);
  expect(rehearsal.clock.timerCount).toBe(0);
});

test('the first failure is told by its worker, ends the others, and is thrown when they have ended', async () => {
  const rehearsal = new Rehearsal();
  rehearsal.at('w1').end(new TriremeError('DIGEST_MISMATCH', 'other bytes'));
  await rehearsal.atRest();
  expect(rehearsal.at('w0').signal.aborted).toBe(true);
  expect(rehearsal.isOver).toBe(false);
  rehearsal.at('w0').end(new TriremeError('CANCELLED', 'aborted'));
  expect(await rehearsal.outcome).toMatchObject({ code: 'DIGEST_MISMATCH', message: 'worker w1: other bytes' });
  expect(rehearsal.edges).toEqual([]);
  expect(rehearsal.clock.timerCount).toBe(0);
});

test('as long as one worker advances the formation has not stalled; then it has, and says where each stands', async () => {
  const rehearsal = new Rehearsal();
  rehearsal.at('w0').progress(FORM_STAGE_JOINING);
  for (let times = 0; times < 5; times++) {
    rehearsal.clock.advance(900);
    rehearsal.at('w1').progress(FORM_STAGE_LOADING);
  }
  expect(rehearsal.at('w0').signal.aborted).toBe(false);
  rehearsal.clock.advance(1000);
  for (const worker of ['w0', 'w1']) rehearsal.at(worker).end(new TriremeError('CANCELLED', 'aborted'));
  expect(await rehearsal.outcome).toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    message: 'no progress for 1000 ms: w0 at FORM_STAGE_JOINING, w1 at FORM_STAGE_LOADING',
  });
});

test('a formation that is aborted from outside throws the reason', async () => {
  const rehearsal = new Rehearsal();
  const reason = new TriremeError('CANCELLED', 'no longer wanted');
  rehearsal.outer.abort(reason);
  for (const worker of ['w0', 'w1']) rehearsal.at(worker).end(reason);
  expect(await rehearsal.outcome).toBe(reason);
});
