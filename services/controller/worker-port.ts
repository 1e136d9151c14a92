/** What the controller asks of workers. worker-client.ts speaks gRPC behind it; tests may stand in for it. */
import type { DescribeResponse, FormProgress, FormRequest } from '#proto/control.ts';

export interface WorkerPort {
  /** Resolves when the worker is warm. Aborting ends the call. Errors: what the worker raised, UNAVAILABLE, CANCELLED. */
  form(
    address: string,
    request: FormRequest,
    onProgress: (progress: FormProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Errors: UNAVAILABLE, DEADLINE_EXCEEDED. */
  disband(address: string, formation: { group: string; epoch: number }, timeoutMs: number): Promise<void>;
  /** Errors: UNAVAILABLE at once when nobody listens there, DEADLINE_EXCEEDED. */
  describe(address: string, timeoutMs: number): Promise<DescribeResponse>;
  close(): void;
}
