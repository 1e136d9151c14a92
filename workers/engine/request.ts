/** What a caller asks of the engine, and the checks that stand before anything is promised. */
import { type Refusal, refuse } from './refusal.ts';
import { type SamplingSettings, validateSettings } from './sampling-settings.ts';

/** Chosen by the caller, unique among the requests in flight; the engine only compares it. */
export type RequestKey = string | number;

export interface EngineRequest {
  readonly key: RequestKey;
  /** At least one token. The engine keeps a copy. */
  readonly prompt: Int32Array;
  /** Choices that share the prompt, 1 .. maxChoices; choice c draws its own random numbers. */
  readonly n: number;
  /**
   * emitted[c]: tokens that choice c generated in earlier attempts and that the client has. They are computed again and
   * not output again; the next output starts at position emitted[c].length. Left out: none.
   */
  readonly emitted: readonly Int32Array[];
  /** Choices that ended in earlier attempts: nothing is computed or output for them. Left out: none. */
  readonly finished?: readonly number[];
  readonly settings: SamplingSettings;
  /** As SequenceChunk has it. */
  readonly adapter?: number;
  /** No tokens are generated: the request ends with its prompt's embedding. */
  readonly pooling?: Pooling;
}

/** Of the prompt's last token, or the mean over all of them. */
export type Pooling = 'last' | 'mean';

export const maxChoices = 128;

export interface RequestLimits {
  readonly vocabularySize: number;
  /** Tokens of prompt and completion together that the model's context and the KV blocks allow. */
  readonly contextLimit: number;
  /** Sequences that the engine holds, running and waiting. */
  readonly maxSequences: number;
}

/** Why the request could never run here, or undefined. Codes: INVALID_ARGUMENT, PROMPT_TOO_LONG. */
export function validateRequest(request: EngineRequest, limits: RequestLimits): Refusal | undefined {
  return (
    validateChoices(request, limits) ??
    validateTokens(request, limits) ??
    validateSettings(request.settings, limits.vocabularySize)
  );
}

function validateChoices(
  { n, emitted, finished = [], pooling }: EngineRequest,
  limits: RequestLimits,
): Refusal | undefined {
  if (pooling && n !== 1) return refuse('INVALID_ARGUMENT', `a prompt has one embedding, not ${n}`);
  const most = Math.min(maxChoices, limits.maxSequences);
  if (!Number.isSafeInteger(n) || n < 1 || n > most) {
    return refuse('INVALID_ARGUMENT', `n must be a whole number from 1 to ${most}, not ${n}`);
  }
  if (emitted.length > n) {
    return refuse('INVALID_ARGUMENT', `emitted has ${emitted.length} choices, n is ${n}`);
  }
  if (finished.length >= n) return refuse('INVALID_ARGUMENT', `all of ${n} choices have ended before`);
  return undefined;
}

function validateTokens({ prompt, emitted }: EngineRequest, limits: RequestLimits): Refusal | undefined {
  if (prompt.length === 0) return refuse('INVALID_ARGUMENT', 'the prompt is empty; it needs at least one token');
  if (prompt.length >= limits.contextLimit) {
    return refuse(
      'PROMPT_TOO_LONG',
      `the prompt has ${prompt.length} tokens, prompt and completion together may have ${limits.contextLimit}; shorten the prompt`,
    );
  }
  for (const tokens of [prompt, ...emitted]) {
    const stray = tokens.find((token) => token < 0 || token >= limits.vocabularySize);
    if (stray !== undefined) {
      return refuse('INVALID_ARGUMENT', `token id ${stray} is outside the vocabulary of ${limits.vocabularySize}`);
    }
  }
  return undefined;
}
