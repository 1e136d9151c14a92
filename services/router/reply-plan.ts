/** How the replies to a request are read: which format, and what its parser has to know. */
import { TriremeError } from '#platform/errors.ts';
import type { GenerateRequest } from '#proto/inference.ts';
import type { ReplyFormat } from '#replies/reply-format.ts';
import { replyFormatNamed, replyFormats } from '#replies/reply-formats.ts';
import { type ReplyOptions, ReplyParser } from '#replies/reply-parser.ts';
import type { DetokenizerOptions, ToolDefinition } from '#tokenizer/tokenizer.ts';

/** A format that leaves all of a reply text. */
const raw = 'raw';

/**
 * undefined: all of a reply is text. own: the model's format. Errors: INVALID_ARGUMENT for a format that there is not.
 */
export function formatFor(
  { replyFormat, prompt }: GenerateRequest,
  own: ReplyFormat | undefined,
): ReplyFormat | undefined {
  if (replyFormat === '') return prompt?.$case === 'chat' ? own : undefined;
  if (replyFormat === raw) return undefined;
  const format = replyFormatNamed(replyFormat);
  if (format) return format;
  throw new TriremeError('INVALID_ARGUMENT', `reply_format ${JSON.stringify(replyFormat)} is not known`, {
    remedy: `leave it empty, or name one of: ${[raw, ...replyFormats.map(({ name }) => name)].join(', ')}`,
  });
}

/** The markers of the format are in the text that its parser reads, also where they are special tokens. */
export function detokenizing(format: ReplyFormat | undefined, continues: boolean): DetokenizerOptions {
  if (!format) return { continues };
  return { continues, showsSpecial: (text) => format.markers.some((marker) => marker.includes(text)) };
}

/** A parser for each choice. A client that names the format wants calls also where it described the tools in words. */
export function parserMaker(
  format: ReplyFormat | undefined,
  { replyFormat }: GenerateRequest,
  { tools, promptEnd }: { readonly tools: readonly ToolDefinition[]; readonly promptEnd: string },
): () => ReplyParser | undefined {
  if (!format) return () => undefined;
  const options: ReplyOptions = {
    promptEnd,
    readsCalls: tools.length > 0 || replyFormat !== '',
    schemas: new Map(tools.map(({ name, parameters }) => [name, parameters])),
  };
  return () => new ReplyParser(format, options);
}
