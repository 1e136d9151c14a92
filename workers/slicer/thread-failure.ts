/** How a thread tells another one why it has failed: errors lose their class on the way. */
import { type ErrorCode, TriremeError, type TriremeErrorOptions } from '#platform/errors.ts';

export interface ThreadFailure {
  readonly kind: 'failed';
  readonly code: ErrorCode;
  readonly message: string;
  readonly options: TriremeErrorOptions;
}

export function failureOf(cause: unknown): ThreadFailure {
  const { code, message, remedy } = TriremeError.from(cause);
  return { kind: 'failed', code, message, options: remedy === undefined ? {} : { remedy } };
}

export function errorOf({ code, message, options }: ThreadFailure): TriremeError {
  return new TriremeError(code, message, options);
}
