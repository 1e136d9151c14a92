/** What an operator may set of a worker. */
export interface WorkerConfig {
  /** Name in the store; empty: drawn at every start. Of two processes with one id the younger has it. */
  readonly id: string;
  /** host:port of the gRPC server; port 0: any free one. */
  readonly listen: string;
  /** host:port where ranks of other processes join; port 0: any free one. */
  readonly rankListen: string;
  /** Host that others reach this worker by; empty: that of the listen addresses. */
  readonly advertiseHost: string;
  /** Ranks that it may own at a time. */
  readonly rankCapacity: number;
  /** What it registers as its memory. */
  readonly memoryBytes: number;
  readonly leaseTtlMs: number;
  /** How long a drain waits for running requests. */
  readonly drainMs: number;
}
