/** What the core is told and what it answers. Plain data: no calls, no channels, no clock. */
import type { ErrorCode, TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { GenerateResponse, Pooling, SamplingParams } from '#proto/inference.ts';
import type { Frame, LeaderMessage, RouterMessage } from '#proto/worker.ts';
import type { ChoiceReply } from './choice-reply.ts';

/** A request that is ready to run: tokenised, defaults applied, seed drawn. */
export interface RoutedRequest {
  /** Unique among those in flight. */
  readonly id: string;
  readonly model: string;
  readonly prompt: readonly number[];
  readonly sampling: SamplingParams;
  /** Name of a low-rank adapter; empty: none. */
  readonly adapter: string;
  /** Set: the prompt's embedding is asked for, and nothing is generated. */
  readonly pooling: Pooling;
  /** One for each choice; at least one. */
  readonly replies: readonly ChoiceReply[];
}

/** Drawn by the shell for every session it opens; never used again. */
export type SessionId = number;

/** A leader has welcomed the router and said where it stands. */
export interface OpenedSession {
  readonly session: SessionId;
  readonly group: string;
  readonly epoch: number;
  /** The last frame that it sent to this router before. */
  readonly lastFrame: number;
  readonly engine: EngineStatus;
}

export type RouterEvent =
  | { readonly kind: 'request'; readonly request: RoutedRequest }
  /** Nobody waits for it any more: cancelled, too late, client too slow, router stopping. Unknown ids are no error. */
  | { readonly kind: 'abandon'; readonly requestId: string; readonly error: TriremeError }
  | ({ readonly kind: 'session-opened' } & OpenedSession)
  | { readonly kind: 'session-message'; readonly session: SessionId; readonly message: LeaderMessage['message'] }
  | { readonly kind: 'session-ended'; readonly session: SessionId; readonly error: TriremeError }
  | { readonly kind: 'frame'; readonly frame: Frame }
  /** Groups came, went or changed. */
  | { readonly kind: 'placement' }
  | { readonly kind: 'tick' };

export type RouterAction =
  | { readonly kind: 'send'; readonly session: SessionId; readonly message: NonNullable<RouterMessage['message']> }
  /** One message to the client. The last of a request that ends well carries its usage. */
  | { readonly kind: 'deliver'; readonly requestId: string; readonly response: GenerateResponse }
  /** Exactly one for every request, its last action. */
  | { readonly kind: 'end'; readonly requestId: string; readonly error: TriremeError | undefined }
  /** This session is of no use; the shell ends it and may open another. */
  | { readonly kind: 'close-session'; readonly session: SessionId; readonly error: TriremeError };

/** Totals since the start. */
export interface RouterStats {
  requests: number;
  /** Requests that ended with an error, by its code. */
  readonly failures: Map<ErrorCode, number>;
  tokens: number;
  frames: number;
  /** Frames that came twice, or from an older epoch, session or incarnation. */
  staleFrames: number;
  lostFrames: number;
}
