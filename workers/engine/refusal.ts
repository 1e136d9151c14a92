/** Why a request is not taken: a normal outcome, so a value and not an exception. */
import type { ErrorCode } from '#platform/errors.ts';

export interface Refusal {
  readonly kind: 'refused';
  readonly code: ErrorCode;
  readonly message: string;
}

export function refuse(code: ErrorCode, message: string): Refusal {
  return { kind: 'refused', code, message };
}
