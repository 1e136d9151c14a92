/** What the controller asks of workers. worker-client.ts speaks gRPC behind it; tests may stand in for it. */
import type { DescribeResponse, FormProgress, FormRequest } from '#proto/control.ts';

export interface QuestionOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface WorkerPort {
  /** Resolves when the worker is warm. Aborting ends the call. Errors: what the worker raised, UNAVAILABLE, CANCELLED. */
  form(
    address: string,
    request: FormRequest,
    onProgress: (progress: FormProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Errors: UNAVAILABLE, DEADLINE_EXCEEDED, the signal's reason. */
  disband(address: string, formation: { group: string; epoch: number }, options: QuestionOptions): Promise<void>;
  /** Errors: UNAVAILABLE at once when nobody listens there, DEADLINE_EXCEEDED, the signal's reason. */
  describe(address: string, options: QuestionOptions): Promise<DescribeResponse>;
  close(): void;
}
