/**
 * Carries out one formation: asks every worker of the group to form, and reports the group's edges as the workers
 * advance. Writes nothing itself; fails as a whole with the first worker that fails, and then ends it on all of them.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { FormStage, formStageToJSON } from '#proto/control.ts';
import type { GroupRecord } from '#proto/records.ts';
import type { WorkerPort } from './worker-port.ts';

export interface FormationOptions {
  readonly workers: WorkerPort;
  readonly clock: Clock;
  readonly record: GroupRecord;
  /** Ranks of different processes prove it to each other. */
  readonly secret: Uint8Array;
  /** A formation of which no worker reports any progress for so long has failed. */
  readonly stallMs: number;
  /** Every worker has loaded its ranks. Called once, before onWarm. */
  onLoaded(): Promise<void>;
  /** Every worker is warm. */
  onWarm(): Promise<void>;
}

/**
 * Resolves after onWarm. Errors: those of WorkerPort.form with the worker's name in front, DEADLINE_EXCEEDED when it
 * stalls, the signal's reason when it aborts, and what the callbacks throw. The first is thrown, once no call runs any more.
 */
export async function runFormation(options: FormationOptions, signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const until = AbortSignal.any([signal, failed.signal]);
  const progress = new FormationProgress(options, (error) => failed.abort(error));
  const loaded = Promise.withResolvers<void>();
  const forming = progress.workers.map(async (worker) => {
    const onStage = (stage: FormStage): void => {
      progress.onStage(worker, stage);
      if (progress.isLoaded) loaded.resolve();
    };
    try {
      await formOn(worker, options, onStage, until);
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  });
  const warm = Promise.all(forming);
  try {
    await Promise.race([loaded.promise, warm]);
    await options.onLoaded();
    await warm;
    await options.onWarm();
  } catch (error) {
    failed.abort(error);
    await Promise.allSettled(forming);
    throw until.reason;
  } finally {
    progress.stop();
  }
}

async function formOn(
  worker: string,
  { workers, record, secret }: FormationOptions,
  onStage: (stage: FormStage) => void,
  signal: AbortSignal,
): Promise<void> {
  const address = record.ranks.find((rank) => rank.worker === worker)?.address ?? '';
  try {
    await workers.form(address, { group: record, secret }, ({ stage }) => onStage(stage), signal);
  } catch (error) {
    const { code, message, remedy } = TriremeError.from(error);
    throw new TriremeError(code, `worker ${worker}: ${message}`, { cause: error, ...(remedy ? { remedy } : {}) });
  }
  onStage(FormStage.FORM_STAGE_WARM);
}

/** How far each worker is; notices when none advances. A worker that waits for the others to join is silent by right. */
class FormationProgress {
  readonly workers: readonly string[];
  readonly #stages = new Map<string, FormStage>();
  readonly #options: FormationOptions;
  readonly #onStall: (error: TriremeError) => void;
  #cancelStall: () => void;

  constructor(options: FormationOptions, onStall: (error: TriremeError) => void) {
    this.#options = options;
    this.#onStall = onStall;
    this.workers = [...new Set(options.record.ranks.map(({ worker }) => worker))];
    for (const worker of this.workers) this.#stages.set(worker, FormStage.FORM_STAGE_UNSPECIFIED);
    this.#cancelStall = this.#expectProgress();
  }

  get isLoaded(): boolean {
    return [...this.#stages.values()].every((stage) => stage >= FormStage.FORM_STAGE_JOINING);
  }

  onStage(worker: string, stage: FormStage): void {
    this.#stages.set(worker, stage);
    this.#cancelStall();
    this.#cancelStall = this.#expectProgress();
  }

  stop(): void {
    this.#cancelStall();
  }

  #expectProgress(): () => void {
    const { clock, stallMs } = this.#options;
    return clock.after(stallMs, () => {
      const stages = [...this.#stages].map(([worker, stage]) => `${worker} at ${formStageToJSON(stage)}`).join(', ');
      this.#onStall(
        new TriremeError('DEADLINE_EXCEEDED', `no progress for ${stallMs} ms: ${stages}`, {
          remedy: 'The log of the worker that is behind says what it does',
        }),
      );
    });
  }
}
