import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { DescribeResponse } from '#proto/control.ts';
import { epochKey, workerKey } from '#proto/keys.ts';
import { WorkerRecord } from '#proto/records.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { ClusterView, encodeEpoch } from './cluster-view.ts';
import { FleetHealth } from './fleet-health.ts';
import { limitsOf } from './limits.ts';
import { Prober } from './prober.ts';

/** One registered worker, whose answers the test gives. */
class Rehearsal {
  readonly asked: ((answer: DescribeResponse | TriremeError) => void)[] = [];
  readonly disbanded: { formation: string; end: (error?: TriremeError) => void }[] = [];
  readonly health = new FleetHealth(limitsOf().health);
  readonly lost = new AbortController();
  readonly prober: Prober;
  findings = 0;

  constructor() {
    const view = new ClusterView(() => {});
    const record = WorkerRecord.fromPartial({ id: 'w0', address: 'w0:1', incarnation: 'i' });
    const worker = { key: workerKey('w0'), value: WorkerRecord.encode(record).finish() };
    const epoch = { key: epochKey('m-0'), value: encodeEpoch('m-0', 5) };
    const entries = [worker, epoch].map((entry) => ({ ...entry, modRevision: 1, createRevision: 1 }));
    view.apply({ kind: 'snapshot', revision: 1, entries });
    const onFinding = () => void this.findings++;
    const shared = {
      view,
      health: this.health,
      clock: new ManualClock(),
      log: createLogger('silent'),
      limits: limitsOf(),
    };
    this.prober = new Prober({ ...shared, workers: this.#workers(), lost: this.lost.signal, onFinding });
  }

  async answer(answer: DescribeResponse | TriremeError): Promise<void> {
    this.asked.at(-1)?.(answer);
    await new Promise((resolve) => setImmediate(resolve));
  }

  #workers(): ConstructorParameters<typeof Prober>[0]['workers'] {
    return {
      form: () => Promise.reject(new Error('not asked')),
      describe: () =>
        new Promise((resolve, reject) => {
          this.asked.push((answer) => (answer instanceof TriremeError ? reject(answer) : resolve(answer)));
        }),
      disband: (_, { group, epoch }) =>
        new Promise((resolve, reject) => {
          this.disbanded.push({ formation: `${group}@${epoch}`, end: (error) => (error ? reject(error) : resolve()) });
        }),
      close: () => {},
    };
  }
}

const unreachable = new TriremeError('UNAVAILABLE', 'nobody there');
const stray = DescribeResponse.fromPartial({ worker: { incarnation: 'i' }, groups: [{ group: 'm-0', epoch: 4 }] });

test('a worker that owes an answer is not asked again', () => {
  const { prober, asked } = new Rehearsal();
  prober.probe();
  prober.probe();
  expect(asked).toHaveLength(1);
});

test('a worker that has answered is asked again, and a finding is told when it is made', async () => {
  const rehearsal = new Rehearsal();
  rehearsal.prober.probe();
  await rehearsal.answer(unreachable);
  expect(rehearsal.findings).toBe(0);
  rehearsal.prober.probe();
  await rehearsal.answer(unreachable);
  expect([rehearsal.findings, [...rehearsal.health.gone]]).toEqual([1, ['i']]);
});

test('a late answer makes a worker silent, not gone', async () => {
  const rehearsal = new Rehearsal();
  for (let question = 0; question < 3; question++) {
    rehearsal.prober.probe();
    await rehearsal.answer(new TriremeError('DEADLINE_EXCEEDED', 'late'));
  }
  expect([[...rehearsal.health.silent], rehearsal.health.gone.size]).toEqual([['i'], 0]);
});

test('a stray team is ended once at a time, its worker is asked meanwhile, and it is ended again when that failed', async () => {
  const rehearsal = new Rehearsal();
  const ask = async (): Promise<void> => {
    rehearsal.prober.probe();
    await rehearsal.answer(stray);
  };
  await ask();
  await ask();
  expect(rehearsal.asked).toHaveLength(2);
  expect(rehearsal.disbanded.map(({ formation }) => formation)).toEqual(['m-0@4']);
  rehearsal.disbanded[0]?.end(unreachable);
  await rehearsal.prober.settled();
  await ask();
  expect(rehearsal.disbanded).toHaveLength(2);
});

test('an answer that comes after leadership was lost ends nothing', async () => {
  const rehearsal = new Rehearsal();
  rehearsal.prober.probe();
  rehearsal.lost.abort();
  await rehearsal.answer(stray);
  expect(rehearsal.disbanded).toEqual([]);
});
