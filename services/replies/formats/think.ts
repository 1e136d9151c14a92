/** Models that think between <think> tags and have no calls of their own. */
import { taggedFormat } from '../tagged-reply.ts';

export const think = taggedFormat({ name: 'think', signs: ['<think>'] });
