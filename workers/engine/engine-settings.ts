/** The engine's limits, each with its outcome, checked once. */
import { TriremeError } from '#platform/errors.ts';
import { maxVocabulary } from './best-tokens.ts';
import { blockPositions } from './block-pool.ts';
import type { ModelRunner } from './step.ts';

export interface EngineSettings {
  /** Capacity in blocks of 16 positions, all sequences together. Exhausted: the youngest sequence is preempted. */
  readonly kvBlocks: number;
  /** Slots: sequences that run at once. Exhausted: sequences wait. */
  readonly maxSequences: number;
  /** Tokens of one forward pass; at least maxSequences. Exhausted: prompts go on in the next step. */
  readonly stepTokens: number;
  /** Sequences that may wait beside maxSequences running ones. Exhausted: NO_ROOM. */
  readonly maxWaiting: number;
}

/** Errors: INVALID_CONFIG, naming the setting. */
export function checkEngineSettings(settings: EngineSettings, runner: ModelRunner, endTokens: readonly number[]): void {
  for (const field of ['kvBlocks', 'maxSequences', 'stepTokens'] as const) {
    if (!Number.isSafeInteger(settings[field]) || settings[field] < 1) {
      throw invalid(`${field} must be a whole number >= 1, not ${settings[field]}`);
    }
  }
  if (!Number.isSafeInteger(settings.maxWaiting) || settings.maxWaiting < 0) {
    throw invalid(`maxWaiting must be a whole number >= 0, not ${settings.maxWaiting}`);
  }
  if (settings.stepTokens < settings.maxSequences) {
    throw invalid(
      `stepTokens (${settings.stepTokens}) must be at least maxSequences (${settings.maxSequences}): each has one row a step`,
    );
  }
  if (runner.vocabularySize > maxVocabulary) {
    throw invalid(
      `a vocabulary of ${runner.vocabularySize} is larger than ${maxVocabulary}, the most that can be ranked`,
    );
  }
  const stray = endTokens.find((token) => !(token >= 0 && token < runner.vocabularySize));
  if (stray !== undefined) throw invalid(`end token ${stray} is outside the vocabulary of ${runner.vocabularySize}`);
}

/** Tokens of prompt and completion together: the model's context, or all KV blocks where those are fewer. */
export function contextLimitOf(settings: EngineSettings, runner: ModelRunner): number {
  return Math.min(runner.contextLength, settings.kvBlocks * blockPositions);
}

function invalid(message: string): TriremeError {
  return new TriremeError('INVALID_CONFIG', message);
}
