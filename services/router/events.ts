/** What the core is told and what it answers. Plain data: no calls, no channels, no clock. */
import type { ErrorCode, TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { GenerateResponse, Pooling, ReceivedChoice, SamplingParams } from '#proto/inference.ts';
import type { AttachRequest, Frame, LeaderMessage, RouterMessage } from '#proto/worker.ts';
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
  /** One for each choice; at least one. They have read what was received. */
  readonly replies: readonly ChoiceReply[];
  /** What the client has already, by choice; it is computed again and not sent again. Empty: nothing. */
  readonly received: readonly ReceivedChoice[];
  /** Groups of this digest go on with what was received. Empty: any. */
  readonly streamDigest: string;
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
  /** planned: the placement has moved on; nothing has died. */
  | {
      readonly kind: 'session-ended';
      readonly session: SessionId;
      readonly error: TriremeError;
      readonly planned: boolean;
    }
  /** Over the bus. */
  | { readonly kind: 'frame'; readonly frame: Frame }
  /** Over gRPC, as an action has asked for. */
  | { readonly kind: 'attached-frame'; readonly session: SessionId; readonly frame: Frame }
  | { readonly kind: 'attach-ended'; readonly session: SessionId }
  | { readonly kind: 'bus'; readonly connected: boolean }
  /** Groups came, went or changed. */
  | { readonly kind: 'placement' }
  | { readonly kind: 'tick' };

export type RouterAction =
  | { readonly kind: 'send'; readonly session: SessionId; readonly message: NonNullable<RouterMessage['message']> }
  /** One message to the client. The last of a request that ends well carries its usage. */
  | { readonly kind: 'deliver'; readonly requestId: string; readonly response: GenerateResponse }
  /** Exactly one for every request, its last action. */
  | { readonly kind: 'end'; readonly requestId: string; readonly error: TriremeError | undefined }
  /** Frames of this session are wanted over gRPC too, from there on where the request says. */
  | { readonly kind: 'attach'; readonly session: SessionId; readonly request: AttachRequest }
  | { readonly kind: 'detach'; readonly session: SessionId }
  /** This session is of no use; the shell ends it and may open another. */
  | { readonly kind: 'close-session'; readonly session: SessionId; readonly error: TriremeError };

/** Totals since the start. */
export interface RouterStats {
  requests: number;
  /** Requests that ended with an error, by its code. */
  readonly failures: Map<ErrorCode, number>;
  tokens: number;
  /** Attempts after the first one of their request. */
  moves: number;
  /** Requests that came with what their clients had received of them elsewhere. */
  resumed: number;
  /** Times that frames had to come over gRPC. */
  attaches: number;
  frames: number;
  /** Frames that came twice, or from an older epoch, session or incarnation. */
  staleFrames: number;
  lostFrames: number;
}
