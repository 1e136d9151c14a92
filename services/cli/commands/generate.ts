import type { Command } from 'commander';
import { TriremeError } from '#platform/errors.ts';
import { GenerateRequest, type SamplingParams } from '#proto/inference.ts';
import { TriremeClient } from '../../client/client.ts';
import {
  collect,
  decimalNumber,
  defaultAddress,
  largestCount,
  seedNumber,
  serverAddresses,
  wholeNumber,
} from '../arguments.ts';
import { type ChatFlags, chatOf, chatOptions, refuseChatFlags } from '../chat-request.ts';
import { abortOnSignals } from '../interrupt.ts';
import { streamText } from '../stream-text.ts';
import type { Terminal } from '../terminal.ts';

interface GenerateFlags extends ChatFlags {
  readonly address: readonly string[];
  readonly model: string;
  readonly prompt?: string;
  readonly chat?: string;
  readonly tokens?: string;
  readonly replyFormat?: string;
  readonly adapter: string;
  readonly n: number;
  readonly maxTokens?: number;
  readonly minTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: string;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly repetitionPenalty?: number;
  readonly stop?: readonly string[];
  readonly ignoreEos?: boolean;
  readonly logprobs?: number;
  readonly json?: boolean;
}

export function addGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command('generate')
    .description('ask a running system; the text streams to stdout, what the model thinks before it to stderr')
    .option('--address <host:port,...>', 'routers; when one goes, the next goes on', serverAddresses, [defaultAddress])
    .option('--model <name>', 'which model; needless when there is one', '')
    .option('--prompt <text>', 'a text to go on from')
    .option('--chat <text>', 'a message to answer')
    .option('--tokens <ids>', 'token ids to go on from, separated by commas')
    .option('--reply-format <name>', 'how replies mark reasoning and calls; raw: show them as they are', '')
    .option('--adapter <name>', 'a LoRA adapter on top of the model', '')
    .option('--n <count>', 'choices', wholeNumber(1, 128), 1)
    .option('--max-tokens <count>', 'end after so many', wholeNumber(1, largestCount))
    .option('--min-tokens <count>', 'do not end before so many', wholeNumber(0, largestCount))
    .option('--temperature <value>', '0 is greedy', decimalNumber)
    .option('--top-k <count>', 'sample from the best so many', wholeNumber(0, largestCount))
    .option('--top-p <value>', 'sample from the best that hold this probability', decimalNumber)
    .option('--min-p <value>', 'leave out what is less likely than this share of the best', decimalNumber)
    .option('--seed <number>', 'same seed, same tokens; up to 64 bits', seedNumber)
    .option('--presence-penalty <value>', 'against tokens generated before', decimalNumber)
    .option('--frequency-penalty <value>', 'the same, for each time', decimalNumber)
    .option('--repetition-penalty <value>', 'against tokens of prompt and completion', decimalNumber)
    .option('--stop <text>', 'end before this text; may be given several times', collect)
    .option('--ignore-eos', 'go on past end tokens')
    .option('--logprobs <count>', 'with --json: log-probabilities, with the best so many', wholeNumber(0, 20))
    .option('--json', 'print every message of the stream as a line of JSON');
  chatOptions(command).action((flags: GenerateFlags) => runGenerate(flags, terminal));
}

async function runGenerate(flags: GenerateFlags, terminal: Terminal): Promise<void> {
  const request = await requestOf(flags);
  const client = new TriremeClient(flags.address);
  try {
    const stream = client.generate(request, { signal: abortOnSignals() });
    if (!flags.json) return await streamText(stream, flags.n, terminal);
    for await (const message of stream) terminal.json(message);
  } finally {
    client.close();
  }
}

async function requestOf(flags: GenerateFlags): Promise<GenerateRequest> {
  const { model, n, adapter, replyFormat = '' } = flags;
  const prompt = await promptOf(flags);
  return { ...GenerateRequest.create(), model, prompt, sampling: samplingOf(flags), n, replyFormat, adapter };
}

async function promptOf(flags: GenerateFlags): Promise<GenerateRequest['prompt']> {
  const { prompt, chat, tokens } = flags;
  const given = [prompt, chat, tokens].filter((value) => value !== undefined);
  if (given.length !== 1) throw new TriremeError('INVALID_ARGUMENT', 'Give one of --prompt, --chat and --tokens');
  if (chat !== undefined) return { $case: 'chat', value: await chatOf(chat, flags) };
  refuseChatFlags(flags);
  if (prompt !== undefined) return { $case: 'text', value: prompt };
  return { $case: 'tokenIds', value: { ids: (tokens ?? '').split(',').map(tokenId) } };
}

function tokenId(text: string): number {
  const id = Number(text.trim());
  if (text.trim() !== '' && Number.isInteger(id) && id >= 0 && id < 2 ** 32) return id;
  throw new TriremeError('INVALID_ARGUMENT', `--tokens: ${JSON.stringify(text)} is not a token id`);
}

function samplingOf(flags: GenerateFlags): SamplingParams {
  return {
    temperature: flags.temperature,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    seed: flags.seed,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    repetitionPenalty: flags.repetitionPenalty,
    logitBias: [],
    stop: [...(flags.stop ?? [])],
    stopTokenIds: [],
    minTokens: flags.minTokens,
    maxTokens: flags.maxTokens,
    ignoreEos: flags.ignoreEos ?? false,
    logprobs: flags.logprobs,
  };
}
