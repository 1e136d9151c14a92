/** MiniMax-M2: a section of invocations; values are typed by the schema. */
import { invokeCalls } from '../invoke-calls.ts';
import { taggedFormat } from '../tagged-reply.ts';

export const minimax = taggedFormat({
  name: 'minimax',
  signs: ['<minimax:tool_call>'],
  calls: invokeCalls({ section: 'minimax:tool_call', prefix: '' }),
});
