/** Counts the bytes of a long piece of work, tells whoever watches, and stops the work when it is cancelled. */
import { TriremeError } from '#platform/errors.ts';

export interface ProgressReport {
  /** Bytes read for digests and written as weights, of all there will be. */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export class Progress {
  readonly #totalBytes: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: ((report: ProgressReport) => void) | undefined;
  #doneBytes = 0;
  #isStopped = false;

  constructor(totalBytes: number, signal?: AbortSignal, onProgress?: (report: ProgressReport) => void) {
    this.#totalBytes = totalBytes;
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  /** Ends whatever still works, at its next report. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Call between pieces of work that take well under a second. Errors: CANCELLED. */
  advance(bytes: number): void {
    this.#doneBytes += bytes;
    this.#onProgress?.({ doneBytes: this.#doneBytes, totalBytes: this.#totalBytes });
    if (this.#isStopped || this.#signal?.aborted) {
      throw new TriremeError('CANCELLED', 'slicing was interrupted; nothing was left behind');
    }
  }
}
