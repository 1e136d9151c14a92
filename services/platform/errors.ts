/**
 * The one error class for everything that can go wrong in operation, with a closed set of codes and one table
 * from code to gRPC status, HTTP status and exit status. A broken invariant is no operating error: see assert.ts.
 */

interface CodeFacts {
  /** google.rpc.Code, as @grpc/grpc-js numbers it. */
  readonly grpc: number;
  readonly http: number;
  /** Exit status of a command or process that ends with it. */
  readonly exit: number;
}

/** grpc codes: 1 CANCELLED, 2 UNKNOWN, 3 INVALID_ARGUMENT, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND, 7 PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED,
 * 9 FAILED_PRECONDITION, 12 UNIMPLEMENTED, 13 INTERNAL, 14 UNAVAILABLE, 16 UNAUTHENTICATED. Exit codes follow sysexits.h where one fits. */
export const errorCodes = {
  // What the caller sent.
  INVALID_ARGUMENT: { grpc: 3, http: 400, exit: 64 },
  UNKNOWN_ADAPTER: { grpc: 5, http: 404, exit: 64 },
  PROMPT_TOO_LONG: { grpc: 3, http: 400, exit: 64 },
  UNKNOWN_MODEL: { grpc: 5, http: 404, exit: 64 },
  UNKNOWN_TARGET: { grpc: 5, http: 404, exit: 64 },
  MESSAGE_TOO_LARGE: { grpc: 8, http: 413, exit: 64 },
  CANCELLED: { grpc: 1, http: 499, exit: 130 },
  DEADLINE_EXCEEDED: { grpc: 4, http: 504, exit: 75 },
  UNIMPLEMENTED: { grpc: 12, http: 501, exit: 76 },
  SLOW_CONSUMER: { grpc: 8, http: 429, exit: 75 },
  // What an operator set up.
  INVALID_CONFIG: { grpc: 9, http: 500, exit: 78 },
  PORT_IN_USE: { grpc: 9, http: 500, exit: 78 },
  STORE_UNAVAILABLE: { grpc: 14, http: 503, exit: 69 },
  BUS_UNAVAILABLE: { grpc: 14, http: 503, exit: 69 },
  // Checkpoints and packages.
  NOT_A_CHECKPOINT: { grpc: 9, http: 500, exit: 66 },
  NOT_A_PACKAGE: { grpc: 9, http: 500, exit: 66 },
  UNKNOWN_FAMILY: { grpc: 9, http: 500, exit: 65 },
  INVALID_CHECKPOINT: { grpc: 9, http: 500, exit: 65 },
  INVALID_ADAPTER: { grpc: 9, http: 500, exit: 65 },
  TRUNCATED_FILE: { grpc: 9, http: 500, exit: 65 },
  MISSING_TENSOR: { grpc: 9, http: 500, exit: 65 },
  TENSOR_SHAPE: { grpc: 9, http: 500, exit: 65 },
  MISSING_TOKENIZER: { grpc: 9, http: 500, exit: 66 },
  ILLEGAL_RANK_COUNT: { grpc: 3, http: 400, exit: 64 },
  DIGEST_MISMATCH: { grpc: 9, http: 500, exit: 65 },
  OUTPUT_BUSY: { grpc: 14, http: 503, exit: 75 },
  DISK_FULL: { grpc: 8, http: 507, exit: 74 },
  IO_ERROR: { grpc: 13, http: 500, exit: 74 },
  // The Hugging Face Hub and the cache that is shared with other tools.
  HUB_UNAUTHORIZED: { grpc: 16, http: 401, exit: 77 },
  HUB_GATED: { grpc: 7, http: 403, exit: 77 },
  HUB_FORBIDDEN: { grpc: 7, http: 403, exit: 77 },
  HUB_REPO_NOT_FOUND: { grpc: 5, http: 404, exit: 66 },
  HUB_REVISION_NOT_FOUND: { grpc: 5, http: 404, exit: 66 },
  HUB_FILE_NOT_FOUND: { grpc: 5, http: 404, exit: 66 },
  HUB_RATE_LIMITED: { grpc: 8, http: 429, exit: 75 },
  HUB_UNAVAILABLE: { grpc: 14, http: 503, exit: 69 },
  HUB_PROTOCOL: { grpc: 13, http: 502, exit: 76 },
  SIZE_MISMATCH: { grpc: 9, http: 500, exit: 65 },
  UNSAFE_FILE_NAME: { grpc: 9, http: 500, exit: 65 },
  NOT_CACHED: { grpc: 5, http: 404, exit: 66 },
  CACHE_BUSY: { grpc: 14, http: 503, exit: 75 },
  // What happens to a cluster.
  NO_ROOM: { grpc: 8, http: 429, exit: 75 },
  UNAVAILABLE: { grpc: 14, http: 503, exit: 69 },
  CONNECTION_LOST: { grpc: 14, http: 503, exit: 69 },
  MOVES_EXHAUSTED: { grpc: 14, http: 503, exit: 69 },
  POISON_REQUEST: { grpc: 13, http: 500, exit: 70 },
  LEASE_LOST: { grpc: 9, http: 409, exit: 75 },
  STALE_EPOCH: { grpc: 9, http: 409, exit: 75 },
  RANK_FAILED: { grpc: 14, http: 503, exit: 70 },
  RUNTIME_ERROR: { grpc: 13, http: 500, exit: 70 },
  INTERNAL: { grpc: 13, http: 500, exit: 70 },
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof errorCodes;

export interface TriremeErrorOptions {
  /** What the reader can do about it: one sentence, printed after the message. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

export class TriremeError extends Error {
  override readonly name = 'TriremeError';
  readonly code: ErrorCode;
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, options: TriremeErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
  }

  /** The one gate from a caught value to an operating error. What nobody classified is INTERNAL, its cause kept. */
  static from(value: unknown): TriremeError {
    if (value instanceof TriremeError) return value;
    const message = value instanceof Error ? value.message : String(value);
    return new TriremeError('INTERNAL', message, { cause: value });
  }

  /** One line for a terminal or a log: code, cause, remedy. */
  toLine(): string {
    return `${this.code}: ${this.message}${this.remedy ? `. ${this.remedy}` : ''}`.replace(/\s*\n\s*/g, ' ');
  }
}
