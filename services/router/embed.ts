/** Embeddings: every input is a request of its own, whose last message carries its vector. */
import { TriremeError } from '#platform/errors.ts';
import {
  type Embedding,
  type EmbedInput,
  type EmbedRequest,
  type EmbedResponse,
  GenerateRequest,
  Pooling,
} from '#proto/inference.ts';
import type { FrontDoor } from './front-door.ts';

export const maxEmbedInputs = 256;

interface Embedded {
  readonly values: readonly number[];
  readonly promptTokens: number;
}

/** All or nothing: the first input that fails ends the others. Errors: INVALID_ARGUMENT; those of FrontDoor.generate(). */
export async function embed(
  door: Pick<FrontDoor, 'generate'>,
  request: EmbedRequest,
  signal: AbortSignal,
): Promise<EmbedResponse> {
  const { inputs, raw } = request;
  if (inputs.length === 0 || inputs.length > maxEmbedInputs) {
    throw new TriremeError('INVALID_ARGUMENT', `a request has 1 to ${maxEmbedInputs} inputs, not ${inputs.length}`);
  }
  const failed = new AbortController();
  const until = AbortSignal.any([signal, failed.signal]);
  const embedded = await Promise.all(
    inputs.map((input) =>
      embedInput(door, request, input, until).catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    ),
  );
  return {
    embeddings: embedded.map(({ values }): Embedding => ({ values: raw ? [...values] : unitLength(values) })),
    promptTokens: embedded.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
  };
}

async function embedInput(
  door: Pick<FrontDoor, 'generate'>,
  { model, adapter, pooling }: EmbedRequest,
  { input }: EmbedInput,
  signal: AbortSignal,
): Promise<Embedded> {
  const request = GenerateRequest.fromPartial({ model, adapter, ...(input ? { prompt: input } : {}) });
  let values: readonly number[] = [];
  let promptTokens = 0;
  await door.generate(
    request,
    ({ choices, usage }) => {
      values = choices[0]?.embedding ?? values;
      promptTokens = usage?.promptTokens ?? promptTokens;
    },
    signal,
    { pooling: pooling === Pooling.POOLING_MEAN ? pooling : Pooling.POOLING_LAST },
  );
  return { values, promptTokens };
}

/** A vector of zeros has no direction and stays as it is. */
function unitLength(values: readonly number[]): number[] {
  const length = Math.hypot(...values);
  return length === 0 ? [...values] : values.map((value) => value / length);
}
