/** The client of the end-to-end benchmark: streams at once, a process of its own. Prints tokens/s of the steady part. */
import { parseArgs } from 'node:util';
import { GenerateRequest } from '../../proto/gen/inference.ts';
import { TriremeClient } from '../../services/client/client.ts';

export interface ClientRun {
  readonly tokensPerSecond: number;
}

const { values } = parseArgs({
  options: {
    address: { type: 'string', default: '' },
    streams: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '96' },
  },
});
const streams = Number(values.streams);
const maxTokens = Number(values.tokens);
const client = new TriremeClient(values.address);
/** Counted between the moment when every stream has begun and the first end of one. */
let flowing = 0;
let counted = 0;
let startMs = 0;
let endMs = 0;

async function stream(index: number): Promise<void> {
  const ids = Array.from({ length: 128 }, (_, i) => (index * 7919 + i * 104_729) % 30_000);
  const sampling = { temperature: 0, logitBias: [], stop: [], stopTokenIds: [], ignoreEos: true, maxTokens };
  let own = 0;
  const prompt = { $case: 'tokenIds', value: { ids } } as const;
  for await (const { choices } of client.generate(GenerateRequest.fromPartial({ prompt, sampling }))) {
    for (const { tokenIds } of choices) {
      if (own === 0 && tokenIds.length > 0 && ++flowing === streams) startMs = performance.now();
      else if (startMs > 0 && endMs === 0) counted += tokenIds.length;
      own += tokenIds.length;
      if (own === maxTokens && endMs === 0) endMs = performance.now();
    }
  }
}

await Promise.all(Array.from({ length: streams }, (_, index) => stream(index)));
client.close();
console.log(JSON.stringify({ tokensPerSecond: (counted * 1000) / (endMs - startMs) } satisfies ClientRun));
