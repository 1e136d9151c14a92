/** From what a client sent to what can run: checks, token ids, complete sampling parameters, a text for each choice. */
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import type { GenerateRequest } from '#proto/inference.ts';
import type { ModelRecord } from '#proto/records.ts';
import { StopStrings } from '#tokenizer/stop-matcher.ts';
import type { Tokenizer } from '#tokenizer/tokenizer.ts';
import { ChoiceText } from './choice-text.ts';
import type { RoutedRequest } from './events.ts';
import type { ModelFiles } from './model-catalog.ts';
import { checkSampling, completeSampling } from './sampling.ts';

export const maxRequestIdLength = 128;
export const maxChatMessages = 4096;

/** Text is measured before it is tokenised. Normalisation may shorten it, hardly ever by more than this. */
const normalisationSlack = 4;

export interface PrepareOptions {
  readonly id: string;
  readonly record: ModelRecord;
  readonly files: ModelFiles;
  readonly random: RandomSource;
}

/** What can be said of a request before its model is known. Errors: INVALID_ARGUMENT. */
export function checkRequest({ requestId, prompt, n }: GenerateRequest, maxChoices: number): void {
  if (requestId.length > maxRequestIdLength) {
    throw invalid(`request_id has ${requestId.length} characters, at most ${maxRequestIdLength} are allowed`);
  }
  if (n > maxChoices) throw invalid(`n must be at most ${maxChoices}, not ${n}`);
  switch (prompt?.$case) {
    case 'text':
      if (prompt.value === '') throw invalid('the prompt is empty; it needs at least one token');
      return;
    case 'tokenIds':
      if (prompt.value.ids.length === 0) throw invalid('the prompt is empty; it needs at least one token');
      return;
    case 'chat': {
      const { messages } = prompt.value;
      if (messages.length === 0) throw invalid('the conversation is empty; it needs at least one message');
      if (messages.length > maxChatMessages)
        throw invalid(`the conversation has more than ${maxChatMessages} messages`);
      const nameless = messages.findIndex(({ role }) => role === '');
      if (nameless >= 0) throw invalid(`message ${nameless} of the conversation has no role`);
      return;
    }
    default:
      throw invalid('the request has no prompt: set text, token_ids or chat');
  }
}

/** Errors: INVALID_ARGUMENT, PROMPT_TOO_LONG. */
export function prepare(request: GenerateRequest, options: PrepareOptions): RoutedRequest {
  const { id, record, files, random } = options;
  const { tokenizer, defaults } = files;
  const sampling = completeSampling(request.sampling, defaults, drawSeed(random));
  checkSampling(sampling);
  const prompt = promptIds(request, tokenizer, record.contextLength);
  const stops = sampling.stop.length > 0 ? new StopStrings(sampling.stop) : undefined;
  // An answer in a chat is a text of its own; everything else goes on the prompt.
  const continues = request.prompt?.$case !== 'chat';
  const minTokens = sampling.minTokens ?? 0;
  const texts = Array.from(
    { length: Math.max(1, request.n) },
    () => new ChoiceText({ detokenizer: tokenizer.createDetokenizer({ continues }), stops, minTokens }),
  );
  return { id, model: record.name, prompt, sampling: { ...sampling, stop: [] }, texts };
}

/** contextLength 0: not known, and left to the group. */
function promptIds({ prompt }: GenerateRequest, tokenizer: Tokenizer, contextLength: number): readonly number[] {
  const limit = contextLength === 0 ? Number.POSITIVE_INFINITY : contextLength;
  const ids = idsOf(prompt, tokenizer, limit);
  if (ids.length === 0) throw invalid('the prompt is empty; it needs at least one token');
  if (ids.length >= limit) throw tooLong(`the prompt has ${ids.length} tokens`, limit);
  return ids;
}

function idsOf(prompt: GenerateRequest['prompt'], tokenizer: Tokenizer, limit: number): readonly number[] {
  switch (prompt?.$case) {
    case 'text':
      checkLength(prompt.value.length, tokenizer, limit);
      return tokenizer.encode(prompt.value);
    case 'tokenIds':
      return prompt.value.ids;
    case 'chat': {
      const { messages } = prompt.value;
      checkLength(
        messages.reduce((sum, { content }) => sum + content.length, 0),
        tokenizer,
        limit,
      );
      return tokenizer.chat({ messages }).ids;
    }
    default:
      return [];
  }
}

/** Tokenising takes its time: what no vocabulary could fit into the context is refused before. */
function checkLength(characters: number, tokenizer: Tokenizer, limit: number): void {
  if (characters <= limit * tokenizer.longestToken * normalisationSlack) return;
  throw tooLong(`the prompt has ${characters} characters`, limit);
}

function tooLong(what: string, limit: number): TriremeError {
  return new TriremeError('PROMPT_TOO_LONG', `${what}, prompt and completion together may have ${limit} tokens`, {
    remedy: 'shorten the prompt',
  });
}

function drawSeed(random: RandomSource): string {
  return new DataView(random.bytes(8).buffer).getBigUint64(0).toString();
}

function invalid(message: string): TriremeError {
  return new TriremeError('INVALID_ARGUMENT', message);
}
