/** Every time limit and count of the controller, by name. */
import { defaultHealthLimits, type HealthLimits } from './fleet-health.ts';
import { defaultRetryLimits, type RetryLimits } from './formation-retries.ts';

export interface ControllerLimits {
  /** A leader that ends without a word is followed after so long. */
  readonly leaseTtlMs: number;
  /** Pause after the store did not answer or refused a write. */
  readonly retryMs: number;
  /** Every worker is asked so often, unless it still owes an answer. */
  readonly probeMs: number;
  readonly probeTimeoutMs: number;
  readonly disbandTimeoutMs: number;
  /** A formation without any progress for so long has failed. */
  readonly stallMs: number;
  readonly health: HealthLimits;
  readonly retries: RetryLimits;
}

export const defaultControllerLimits: ControllerLimits = {
  leaseTtlMs: 5000,
  retryMs: 1000,
  probeMs: 300,
  probeTimeoutMs: 1000,
  disbandTimeoutMs: 5000,
  stallMs: 60_000,
  health: defaultHealthLimits,
  retries: defaultRetryLimits,
};
