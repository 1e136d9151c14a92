/** The only place that reads time. Cores take a Clock as an argument, so that tests and simulations own it. */

export interface Clock {
  /** Milliseconds on a monotonic clock; only differences mean something. */
  now(): number;
  /** Milliseconds since the Unix epoch, for records and logs. */
  wallTime(): number;
  /** Resolves after delayMs; rejects with signal.reason when the signal aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls back after delayMs; the result cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back every intervalMs; the result cancels. */
  every(intervalMs: number, callback: () => void): () => void;
}
