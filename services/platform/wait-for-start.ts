/** A server that is not there yet when a process starts: wait for it aloud, but not for ever. */
import type { Clock } from './clock.ts';
import type { ErrorCode } from './errors.ts';
import { TriremeError } from './errors.ts';
import type { Logger } from './log.ts';

const retryMs = 250;
const noticeMs = 5000;

export interface StartOptions {
  /** What is waited for, as an operator calls it. */
  readonly name: string;
  readonly url: string;
  readonly code: ErrorCode;
  readonly limitMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Tries again and again until `attempt` succeeds; says at once and every 5 s that it waits. Errors: `code` after limitMs,
 * with the last attempt's error as its cause.
 */
export async function waitForStart<T>(options: StartOptions, attempt: () => Promise<T>): Promise<T> {
  const { name, url, code, limitMs, clock, log } = options;
  const startMs = clock.now();
  let nextNoticeMs = startMs;
  for (;;) {
    try {
      return await attempt();
    } catch (cause) {
      const nowMs = clock.now();
      if (nowMs - startMs >= limitMs) {
        const message = `${name} at ${url} did not answer within ${limitMs} ms`;
        throw new TriremeError(code, message, {
          cause,
          remedy: `start ${name} there, or configure the address where it is`,
        });
      }
      if (nowMs >= nextNoticeMs) {
        log.warn(
          { url, reason: cause instanceof Error ? cause.message : String(cause), limitMs },
          `waiting for ${name}`,
        );
        nextNoticeMs = nowMs + noticeMs;
      }
      await clock.sleep(Math.min(retryMs, limitMs));
    }
  }
}
