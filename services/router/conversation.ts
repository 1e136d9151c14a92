/** A chat as a client sends it, checked and read for the template. */
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '#platform/json-object.ts';
import type { Chat, Tool } from '#proto/inference.ts';
import { isFunctionName, maxNameLength } from '#replies/reply-format.ts';
import type { Conversation, ToolDefinition } from '#tokenizer/tokenizer.ts';

export const maxChatMessages = 4096;
export const maxTools = 512;

/** Errors: INVALID_ARGUMENT naming the message or the tool. */
export function conversationOf({ messages, tools, templateArguments }: Chat): Conversation {
  if (messages.length === 0) throw invalid('the conversation is empty; it needs at least one message');
  if (messages.length > maxChatMessages) throw invalid(`the conversation has more than ${maxChatMessages} messages`);
  const nameless = messages.findIndex(({ role }) => role === '');
  if (nameless >= 0) throw invalid(`message ${nameless} of the conversation has no role`);
  if (tools.length > maxTools) throw invalid(`the conversation has more than ${maxTools} tools`);
  return { messages, tools: tools.map(toolOf), variables: variablesOf(templateArguments) };
}

/** Characters that may end up in the prompt. */
export function lengthOf({ messages, tools, templateArguments }: Chat): number {
  const texts = [
    templateArguments,
    ...messages.flatMap(({ content, reasoning, toolCalls }) => [
      ...[content, reasoning],
      ...toolCalls.map((call) => call.arguments),
    ]),
    ...tools.flatMap(({ description, parameters }) => [description, parameters]),
  ];
  return texts.reduce((sum, { length }) => sum + length, 0);
}

function toolOf({ name, description, parameters }: Tool, index: number, all: readonly Tool[]): ToolDefinition {
  if (!isFunctionName(name) || name.length > maxNameLength) {
    throw invalid(`tool ${index} needs a name of 1 to ${maxNameLength} characters without spaces, quotes or brackets`);
  }
  if (all.findIndex((other) => other.name === name) < index) throw invalid(`two tools are named ${name}`);
  const schema = parameters === '' ? noParameters : parseJson(parameters)?.value;
  if (!isJsonObject(schema)) throw invalid(`parameters of tool ${name} must be a JSON schema, an object`);
  return { name, description, parameters: schema };
}

const noParameters: JsonObject = { type: 'object', properties: {} };

function variablesOf(json: string): JsonObject {
  if (json === '') return {};
  const value = parseJson(json)?.value;
  if (isJsonObject(value)) return value;
  throw invalid('template_arguments must be a JSON object, such as {"enable_thinking": false}');
}

function invalid(message: string): TriremeError {
  return new TriremeError('INVALID_ARGUMENT', message);
}
