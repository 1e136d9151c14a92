/** A chat from the command line: one message, and what goes with it. */
import { type Command, Option } from 'commander';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '#platform/json-object.ts';
import { Chat } from '#proto/inference.ts';
import { readTools } from './tools-file.ts';

const reasoningChoices = ['on', 'off', 'low', 'medium', 'high'] as const;

export interface ChatFlags {
  readonly system?: string;
  readonly tools?: string;
  readonly reasoning?: (typeof reasoningChoices)[number];
  readonly templateArguments?: string;
}

export function chatOptions(command: Command): Command {
  return command
    .option('--system <text>', 'with --chat: the system message')
    .option('--tools <file>', 'with --chat: functions that the model may call, as a JSON list')
    .addOption(
      new Option('--reasoning <how>', 'with --chat: whether to think first, or how much').choices(reasoningChoices),
    )
    .option('--template-arguments <json>', 'with --chat: more variables for the chat template');
}

/** Errors: INVALID_ARGUMENT for a file of tools or template arguments that cannot be read, IO_ERROR. */
export async function chatOf(message: string, flags: ChatFlags = {}): Promise<Chat> {
  const first = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
  const variables = { ...reasoningVariables(flags.reasoning), ...given(flags.templateArguments) };
  return Chat.fromPartial({
    messages: [...first, { role: 'user', content: message }],
    tools: flags.tools === undefined ? [] : await readTools(flags.tools),
    templateArguments: Object.keys(variables).length > 0 ? JSON.stringify(variables) : '',
  });
}

/** Errors: INVALID_ARGUMENT for one that only a chat knows. */
export function refuseChatFlags({ system, tools, reasoning, templateArguments }: ChatFlags): void {
  const [name] = Object.entries({
    '--system': system,
    '--tools': tools,
    '--reasoning': reasoning,
    '--template-arguments': templateArguments,
  }).find(([, value]) => value !== undefined) ?? [undefined];
  if (name !== undefined) throw new TriremeError('INVALID_ARGUMENT', `${name} goes with --chat only`);
}

/** Templates do not agree on a name; one that a template does not know does nothing. */
function reasoningVariables(reasoning: ChatFlags['reasoning']): JsonObject {
  if (reasoning === undefined) return {};
  const thinks = reasoning !== 'off';
  const effort = reasoning === 'on' || reasoning === 'off' ? {} : { reasoning_effort: reasoning };
  return { enable_thinking: thinks, thinking: thinks, ...effort };
}

function given(json: string | undefined): JsonObject {
  if (json === undefined) return {};
  const value = parseJson(json)?.value;
  if (isJsonObject(value)) return value;
  throw new TriremeError('INVALID_ARGUMENT', '--template-arguments is no JSON object', {
    remedy: `Write it as '{"enable_thinking": false}'`,
  });
}
