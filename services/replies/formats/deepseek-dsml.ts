/** DeepSeek V3.2 and V4: a section of invocations in tags of their own; each value says whether it is a text. */
import { invokeCalls } from '../invoke-calls.ts';
import { taggedFormat } from '../tagged-reply.ts';

const prefix = '｜DSML｜';

export const deepseekV32 = taggedFormat({
  name: 'deepseek-v3.2',
  signs: [prefix],
  calls: invokeCalls({ section: 'function_calls', prefix }),
});

export const deepseekV4 = taggedFormat({
  name: 'deepseek-v4',
  signs: [`<${prefix}tool_calls>`],
  calls: invokeCalls({ section: 'tool_calls', prefix }),
});
