/** What a worker shows of itself. Counted as steps come; loads are read when somebody asks. */
import type { CounterMetric, HistogramMetric, Metrics } from '#platform/metrics.ts';
import type { WorkerLoad } from './held-groups.ts';
import type { StepFigures } from './leader-desk.ts';

const sequenceBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256];

export class WorkerMetrics {
  readonly #tokens: CounterMetric<never>;
  readonly #steps: CounterMetric<never>;
  readonly #sequences: HistogramMetric<never>;

  constructor(metrics: Metrics, load: () => WorkerLoad) {
    this.#tokens = metrics.counter('worker_tokens_total', { help: 'Tokens sent to routers.' });
    this.#steps = metrics.counter('worker_steps_total', { help: 'Steps of the engines that are led here.' });
    this.#sequences = metrics.histogram('worker_step_sequences', {
      help: 'Sequences that got a token in a step.',
      buckets: sequenceBuckets,
    });
    const gauge = (name: string, help: string, key: keyof WorkerLoad): void => {
      metrics.gauge(`worker_${name}`, { help }, () => load()[key]);
    };
    gauge('running_sequences', 'Sequences in the batches of engines.', 'running');
    gauge('waiting_sequences', 'Sequences that wait for a place in a batch.', 'waiting');
    gauge('free_blocks', 'Blocks of KV that no sequence holds.', 'freeBlocks');
    gauge('sessions', 'Routers with a session.', 'sessions');
    gauge('unacknowledged_attempts', 'Attempts kept until their router has their end.', 'unacknowledged');
  }

  onStep({ sequences, tokens }: StepFigures): void {
    this.#steps.add(1);
    this.#tokens.add(tokens);
    this.#sequences.observe(sequences);
  }
}
