import { type Command, Option } from 'commander';
import { TriremeError } from '#platform/errors.ts';
import { EmbedRequest, Pooling } from '#proto/inference.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, serverAddress } from '../arguments.ts';
import type { Terminal } from '../terminal.ts';

interface EmbedFlags {
  readonly address: string;
  readonly model: string;
  readonly adapter: string;
  readonly text: readonly string[];
  readonly pooling: 'last' | 'mean';
  readonly raw?: boolean;
  readonly json?: boolean;
}

const collect = (text: string, earlier: readonly string[]): readonly string[] => [...earlier, text];
const poolingOption = new Option('--pooling <kind>', 'of the last token, or the mean over all')
  .choices(['last', 'mean'])
  .default('last');

export function addEmbed(program: Command, terminal: Terminal): void {
  program
    .command('embed')
    .description('turn texts into vectors; prints one JSON array a text')
    .option('--address <host:port>', 'a router', serverAddress, defaultAddress)
    .option('--model <name>', 'which model; needless when there is one', '')
    .option('--adapter <name>', 'a LoRA adapter on top of the model', '')
    .option('--text <text>', 'a text; may be given several times', collect, [])
    .addOption(poolingOption)
    .option('--raw', 'leave vectors as long as they are')
    .option('--json', 'print the whole answer as one line of JSON')
    .action((flags: EmbedFlags) => embed(flags, terminal));
}

async function embed(flags: EmbedFlags, terminal: Terminal): Promise<void> {
  const { address, model, adapter, text: texts, pooling, raw = false } = flags;
  if (texts.length === 0) {
    throw new TriremeError('INVALID_ARGUMENT', 'there is no text', { remedy: 'Give --text, once for each' });
  }
  const client = new TriremeClient(address);
  try {
    const inputs = texts.map((value) => ({ input: { $case: 'text' as const, value } }));
    const kind = pooling === 'mean' ? Pooling.POOLING_MEAN : Pooling.POOLING_LAST;
    const request = EmbedRequest.fromPartial({ model, adapter, inputs, pooling: kind, raw });
    const answer = await client.embed(request);
    if (flags.json) return terminal.json(answer);
    for (const { values } of answer.embeddings) terminal.json(values);
  } finally {
    client.close();
  }
}
