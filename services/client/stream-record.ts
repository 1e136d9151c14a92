/** What a client has of one request, message by message: enough to go on with it at any router. Pure. */
import { TriremeError } from '#platform/errors.ts';
import {
  type ChoiceDelta,
  type GenerateRequest,
  type GenerateResponse,
  type ReceivedChoice,
  ResumeRequest,
  SamplingParams,
} from '#proto/inference.ts';

interface Received {
  readonly tokenIds: number[];
  finished: boolean;
}

export class StreamRecord {
  readonly #request: GenerateRequest;
  readonly #choices: readonly Received[];
  #seed: string | undefined;
  #streamDigest = '';
  #hasBegun = false;

  /** The request has its request_id. */
  constructor(request: GenerateRequest) {
    this.#request = request;
    this.#choices = Array.from({ length: Math.max(1, request.n) }, () => ({ tokenIds: [], finished: false }));
    this.#seed = request.sampling?.seed;
  }

  /** A message has come. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get isFinished(): boolean {
    return this.#choices.every(({ finished }) => finished);
  }

  /** Errors: INTERNAL when the message does not go on where the last one ended; then it is not to be shown. */
  add({ seed, streamDigest, choices }: GenerateResponse): void {
    for (const delta of choices) this.#check(delta);
    this.#hasBegun = true;
    this.#seed ??= seed;
    if (streamDigest !== '') this.#streamDigest = streamDigest;
    for (const { index, tokenIds, finishReason } of choices) {
      const choice = this.#choices[index]!;
      for (const id of tokenIds) choice.tokenIds.push(id);
      choice.finished ||= finishReason !== undefined;
    }
  }

  /** What to send to go on from here. */
  resumption(): ResumeRequest {
    const received: ReceivedChoice[] = this.#choices.map(({ tokenIds, finished }) => ({
      tokenIds: [...tokenIds],
      finished,
    }));
    const sampling = { ...(this.#request.sampling ?? SamplingParams.create()), seed: this.#seed };
    const request = { ...this.#request, sampling };
    return ResumeRequest.fromPartial({ request, received, streamDigest: this.#streamDigest });
  }

  #check({ index, firstPosition }: ChoiceDelta): void {
    const choice = this.#choices[index];
    if (choice && !choice.finished && choice.tokenIds.length === firstPosition) return;
    const place = choice ? `position ${firstPosition} after ${choice.tokenIds.length} tokens` : 'a choice too many';
    throw new TriremeError('INTERNAL', `the stream does not hold together: ${place} of choice ${index}`);
  }
}
