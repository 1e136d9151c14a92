/** The engine's values as they travel between rank 0 and the main thread. */

import { FinishReason, Pooling, type SamplingParams } from '#proto/inference.ts';
import type { EngineReportEntry, EngineSubmit } from '#proto/rank.ts';
import type { SequenceOutput } from '../engine/output.ts';
import type { EngineRequest } from '../engine/request.ts';
import { neutralSettings, type SamplingSettings } from '../engine/sampling-settings.ts';

/** Who asked for what; the engine sees it as one key. */
export interface AttemptName {
  readonly owner: number;
  readonly requestId: string;
  readonly attempt: number;
}

export function keyOf({ owner, attempt, requestId }: AttemptName): string {
  return `${owner}:${attempt}:${requestId}`;
}

export function nameOf(key: string): AttemptName {
  const [owner = '', attempt = ''] = key.split(':', 2);
  const requestId = key.slice(owner.length + attempt.length + 2);
  return { owner: Number(owner), attempt: Number(attempt), requestId };
}

export function toRequest({ owner, submit, adapter }: EngineSubmit): EngineRequest | undefined {
  if (!submit) return undefined;
  const { requestId, attempt, prompt, emitted, n, sampling } = submit;
  const pooling = poolings[submit.pooling];
  return {
    key: keyOf({ owner, requestId, attempt }),
    prompt: Int32Array.from(prompt),
    n,
    emitted: emitted.map(({ ids }) => Int32Array.from(ids)),
    finished: emitted.flatMap(({ finished }, choice) => (finished ? choice : [])),
    settings: toSettings(sampling),
    ...(adapter === undefined ? {} : { adapter }),
    ...(pooling ? { pooling } : {}),
  };
}

function toSettings(sampling: SamplingParams | undefined): SamplingSettings {
  if (!sampling) return neutralSettings;
  return {
    temperature: sampling.temperature ?? neutralSettings.temperature,
    topK: sampling.topK ?? neutralSettings.topK,
    topP: sampling.topP ?? neutralSettings.topP,
    minP: sampling.minP ?? neutralSettings.minP,
    seed: BigInt(sampling.seed ?? 0),
    presencePenalty: sampling.presencePenalty ?? neutralSettings.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty ?? neutralSettings.frequencyPenalty,
    repetitionPenalty: sampling.repetitionPenalty ?? neutralSettings.repetitionPenalty,
    logitBias: sampling.logitBias.map(({ tokenId, bias }) => ({ token: tokenId, bias })),
    stopTokens: sampling.stopTokenIds,
    minTokens: sampling.minTokens ?? neutralSettings.minTokens,
    maxTokens: sampling.maxTokens,
    ignoreEos: sampling.ignoreEos,
    logprobs: sampling.logprobs,
  };
}

const finishReasons = {
  stop: FinishReason.FINISH_REASON_STOP,
  length: FinishReason.FINISH_REASON_LENGTH,
} as const;

/** By number on the wire. */
const poolings: Readonly<Record<number, EngineRequest['pooling']>> = {
  [Pooling.POOLING_LAST]: 'last',
  [Pooling.POOLING_MEAN]: 'mean',
};

export function toEntry(output: SequenceOutput): EngineReportEntry {
  const { owner, requestId, attempt } = nameOf(String(output.key));
  return {
    owner,
    entry: {
      requestId,
      attempt,
      choice: output.choice,
      firstPosition: output.firstPosition,
      tokenIds: [...output.tokens],
      logprobs: output.logprobs.map(({ logprob, top }) => ({
        logprob,
        top: top.map((best) => ({ tokenId: best.token, logprob: best.logprob })),
      })),
      finishReason: output.finish && finishReasons[output.finish],
      errorCode: output.error?.code ?? '',
      errorMessage: output.error?.message ?? '',
      embedding: output.embedding ? [...output.embedding] : [],
    },
  };
}
