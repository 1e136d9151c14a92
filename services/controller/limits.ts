/** Every time limit and count of the controller, by the name of the part that keeps it. */
import { loadConfig } from '#platform/config.ts';
import { type ControllerConfig, controllerFields } from './config.ts';
import type { HealthLimits } from './fleet-health.ts';
import type { RetryLimits } from './formation-retries.ts';

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

const storeRetryMs = 1000;

/** What is left out takes its default. */
export function limitsOf(config: Partial<ControllerConfig> = {}): ControllerLimits {
  const complete = { ...defaultConfig, ...config };
  return {
    leaseTtlMs: complete.leaseTtl,
    retryMs: storeRetryMs,
    probeMs: complete.probe,
    probeTimeoutMs: complete.probeTimeout,
    disbandTimeoutMs: complete.disbandTimeout,
    stallMs: complete.stall,
    health: {
      unreachableMax: complete.maxUnreachable,
      unansweredMax: complete.maxUnanswered,
      drainMsMin: complete.minDrain,
      drainMsMax: complete.maxDrain,
    },
    retries: {
      firstDelayMs: complete.firstRetry,
      delayMsMax: complete.maxRetry,
      soundAfterMs: complete.maxRetry,
    },
  };
}

const defaultConfig = loadConfig(controllerFields, { argv: [], env: {} });
