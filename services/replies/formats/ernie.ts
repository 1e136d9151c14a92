/** ERNIE-4.5 with thinking: reasoning, then the answer between <response> tags; calls as in Hermes. */
import { taggedFormat } from '../tagged-reply.ts';
import { hermesCalls } from './hermes.ts';

export const ernie = taggedFormat({
  name: 'ernie',
  signs: ['<response>'],
  answer: { open: '<response>', close: '</response>' },
  calls: hermesCalls,
});
