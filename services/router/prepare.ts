/** From what a client sent to what can run: checks, token ids, complete sampling parameters, a reply for each choice. */
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import type { GenerateRequest, Pooling, ReceivedChoice, SamplingParams } from '#proto/inference.ts';
import type { ModelRecord } from '#proto/records.ts';
import { StopStrings } from '#tokenizer/stop-matcher.ts';
import type { Tokenizer, ToolDefinition } from '#tokenizer/tokenizer.ts';
import { ChoiceReply } from './choice-reply.ts';
import { conversationOf, lengthOf } from './conversation.ts';
import type { RoutedRequest } from './events.ts';
import type { ModelFiles } from './model-catalog.ts';
import { detokenizing, formatFor, parserMaker } from './reply-plan.ts';
import { checkSampling, completeSampling } from './sampling.ts';

export const maxRequestIdLength = 128;

/** Characters or tokens at the end of a prompt in which a tag shows that the reply goes on inside it. */
const promptEndLength = 64;

/** Text is measured before it is tokenised. Normalisation may shorten it, hardly ever by more than this. */
const normalisationSlack = 4;

export interface PrepareOptions {
  readonly id: string;
  readonly record: ModelRecord;
  readonly files: ModelFiles;
  readonly random: RandomSource;
  /** As RoutedRequest has them. */
  readonly pooling: Pooling;
  readonly received: readonly ReceivedChoice[];
  readonly streamDigest: string;
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
    case 'chat':
      return;
    default:
      throw invalid('the request has no prompt: set text, token_ids or chat');
  }
}

/** Errors: INVALID_ARGUMENT, PROMPT_TOO_LONG. */
export function prepare(request: GenerateRequest, options: PrepareOptions): RoutedRequest {
  const { id, record, files, random, pooling, received, streamDigest } = options;
  const { tokenizer, defaults } = files;
  const { adapter } = request;
  if (adapter !== '' && !record.serving?.adapters) {
    throw new TriremeError(
      'UNKNOWN_ADAPTER',
      `model ${record.name} is served without adapters; ${adapter} is none of it`,
      {
        remedy: 'Serve it with a folder of adapters, or leave the adapter out',
      },
    );
  }
  const sampling = completeSampling(request.sampling, defaults, drawSeed(random));
  checkSampling(sampling);
  const format = formatFor(request, files.replyFormat);
  const prompt = readPrompt(request, tokenizer, record.contextLength);
  const createParser = parserMaker(format, request, prompt);
  const stops = sampling.stop.length > 0 ? new StopStrings(sampling.stop) : undefined;
  const minTokens = sampling.minTokens ?? 0;
  // An answer in a chat is a text of its own; everything else goes on the prompt.
  const isChat = request.prompt?.$case === 'chat';
  const replies = Array.from({ length: Math.max(1, request.n) }, (_, choice) => {
    const detokenizer = tokenizer.createDetokenizer(detokenizing(format, !isChat));
    return new ChoiceReply({
      ...{ detokenizer, parser: createParser(), stops, minTokens },
      callIdPrefix: `call_${id}_${choice}_`,
    });
  });
  checkReceived(received, replies.length);
  for (const [choice, reply] of replies.entries()) readAgain(reply, received[choice]);
  const stopTokenIds = isChat ? withTurnEnd(sampling, tokenizer.turnEnd) : sampling.stopTokenIds;
  return {
    id,
    model: record.name,
    prompt: prompt.ids,
    sampling: { ...sampling, stop: [], stopTokenIds },
    adapter,
    pooling,
    replies,
    received,
    streamDigest,
  };
}

function checkReceived(received: readonly ReceivedChoice[], n: number): void {
  if (received.length > n) throw invalid(`received has ${received.length} choices, the request ${n}`);
}

/** What the client has seen is not shown again; whatever comes next goes on from there. */
function readAgain(reply: ChoiceReply, received: ReceivedChoice | undefined): void {
  if (!received || received.finished) return;
  const seen = { text: '', reasoning: '', toolCalls: [] };
  for (const id of received.tokenIds) {
    if (reply.stopped) throw invalid('received goes on after a stop string');
    reply.push(id, seen);
  }
  if (reply.stopped) throw invalid('received ends with a stop string, and its choice is not marked as finished');
}

/** A chat's answer ends with its turn, which is not an end token of every model. */
function withTurnEnd({ stopTokenIds, ignoreEos }: SamplingParams, turnEnd: number | undefined): number[] {
  const isKnown = turnEnd === undefined || ignoreEos || stopTokenIds.includes(turnEnd);
  return isKnown ? stopTokenIds : [...stopTokenIds, turnEnd];
}

interface Prompt {
  readonly ids: readonly number[];
  /** Its last characters. */
  readonly promptEnd: string;
  readonly tools: readonly ToolDefinition[];
}

/** contextLength 0: not known, and left to the group. */
function readPrompt({ prompt }: GenerateRequest, tokenizer: Tokenizer, contextLength: number): Prompt {
  const limit = contextLength === 0 ? Number.POSITIVE_INFINITY : contextLength;
  const read = promptOf(prompt, tokenizer, limit);
  const { length } = read.ids;
  if (length === 0) throw invalid('the prompt is empty; it needs at least one token');
  if (length >= limit) throw tooLong(`the prompt has ${length} tokens`, limit);
  return read;
}

function promptOf(prompt: GenerateRequest['prompt'], tokenizer: Tokenizer, limit: number): Prompt {
  switch (prompt?.$case) {
    case 'text': {
      checkLength(prompt.value.length, tokenizer, limit);
      return { ids: tokenizer.encode(prompt.value), promptEnd: prompt.value.slice(-promptEndLength), tools: [] };
    }
    case 'tokenIds': {
      const { ids } = prompt.value;
      return { ids, promptEnd: tokenizer.decode(ids.slice(-promptEndLength), { showsSpecial: true }), tools: [] };
    }
    case 'chat': {
      checkLength(lengthOf(prompt.value), tokenizer, limit);
      const conversation = conversationOf(prompt.value);
      const { text, ids } = tokenizer.chat(conversation);
      return { ids, promptEnd: text.slice(-promptEndLength), tools: conversation.tools ?? [] };
    }
    default:
      return { ids: [], promptEnd: '', tools: [] };
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
