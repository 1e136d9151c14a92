/** Requests as a client makes them, and streams checked as they come. */

import { GenerateRequest } from '../../proto/gen/inference.ts';
import type { TriremeClient } from '../../services/client/client.ts';

export interface Generation {
  readonly group: string;
  readonly tokens: readonly number[];
  readonly text: string;
}

/** A greedy request that goes on for exactly this many tokens. */
export function greedy(text: string, maxTokens: number): GenerateRequest {
  return GenerateRequest.fromPartial({
    prompt: { $case: 'text', value: text },
    sampling: { temperature: 0, ignoreEos: true, maxTokens },
  });
}

/** Throws when a position is missing or comes twice, or the stream ends without a finish. */
export async function generate(
  client: TriremeClient,
  request: GenerateRequest,
  onTokens: (group: string, count: number) => void = () => {},
): Promise<Generation> {
  const tokens: number[] = [];
  let text = '';
  let group = '';
  let finishes = 0;
  for await (const message of client.generate(request)) {
    group ||= message.group;
    for (const delta of message.choices) {
      if (delta.tokenIds.length > 0 && delta.firstPosition !== tokens.length) {
        throw new Error(`position ${delta.firstPosition} came when ${tokens.length} was due`);
      }
      tokens.push(...delta.tokenIds);
      text += delta.text;
      if (delta.finishReason !== undefined) finishes++;
    }
    onTokens(group, tokens.length);
  }
  if (finishes !== 1) throw new Error(`the stream had ${finishes} finishes`);
  return { group, tokens, text };
}
