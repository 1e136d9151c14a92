/**
 * One stream of tokens over several routers: when a connection or a router goes, the next one goes on where the client
 * stands. Nothing comes twice, nothing is left out.
 */
import type { Clock } from '#platform/clock.ts';
import { type ErrorCode, TriremeError } from '#platform/errors.ts';
import type { GenerateRequest, GenerateResponse, ResumeRequest } from '#proto/inference.ts';
import { StreamRecord } from './stream-record.ts';

const firstPauseMs = 50;
const maxPauseMs = 1000;

/** Ends of a call after which the request may go on elsewhere. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CONNECTION_LOST', 'UNAVAILABLE', 'NO_ROOM']);

export interface RouterCalls {
  generate(request: GenerateRequest, signal: AbortSignal | undefined): AsyncIterable<GenerateResponse>;
  resume(request: ResumeRequest, signal: AbortSignal | undefined): AsyncIterable<GenerateResponse>;
}

export interface ResumedStreamOptions {
  /** Tried in turn, the first one first. At least one. */
  readonly routers: readonly RouterCalls[];
  /** How long no router may bring the stream forward before its last error ends it. */
  readonly resumeLimitMs: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  onResume?(error: TriremeError): void;
}

/**
 * The request has its request_id. A request that has not reached any router ends when each has been asked once; one that has
 * is kept alive. Errors: what a router raised, the signal's reason.
 */
export async function* resumedStream(
  request: GenerateRequest,
  { routers, resumeLimitMs, clock, signal, onResume }: ResumedStreamOptions,
): AsyncGenerator<GenerateResponse> {
  const record = new StreamRecord(request);
  let isUnderWay = false;
  let progressMs = clock.now();
  let pauseMs = firstPauseMs;
  for (let tries = 0; ; tries++) {
    const router = routers[tries % routers.length]!;
    try {
      const calls = isUnderWay ? router.resume(record.resumption(), signal) : router.generate(request, signal);
      for await (const response of calls) {
        record.add(response);
        isUnderWay = true;
        progressMs = clock.now();
        pauseMs = firstPauseMs;
        yield response;
      }
      return;
    } catch (cause) {
      const error = TriremeError.from(cause);
      if (record.isFinished && passing.has(error.code)) return; // Only the call's own end was lost.
      isUnderWay ||= error.code === 'CONNECTION_LOST';
      const isOver = isUnderWay ? clock.now() - progressMs >= resumeLimitMs : tries + 1 >= routers.length;
      if (signal?.aborted || !passing.has(error.code) || isOver) throw error;
      onResume?.(error);
    }
    if ((tries + 1) % routers.length !== 0 && pauseMs === firstPauseMs) continue;
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(2 * pauseMs, maxPauseMs);
  }
}
