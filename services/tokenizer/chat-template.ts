/** A model's chat template: a conversation becomes the text of a prompt that the model's answer continues. */
import { Template } from '@huggingface/jinja';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '#platform/json-object.ts';
import { type CallForm, findCallForm, type Render, rendersTools } from './template-probe.ts';

export interface ChatTurn {
  readonly role: string;
  readonly content: string;
  /** Of an assistant: what it thought. Empty or left out: nothing. */
  readonly reasoning?: string;
  readonly toolCalls?: readonly CallOfTurn[];
  /** Of a tool: the call that it answers, and the function's name. */
  readonly toolCallId?: string;
  readonly name?: string;
}

export interface CallOfTurn {
  readonly id: string;
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  /** JSON schema of the arguments. */
  readonly parameters: JsonObject;
}

export interface Conversation {
  readonly messages: readonly ChatTurn[];
  readonly tools?: readonly ToolDefinition[];
  /** What else the template is to know, such as enable_thinking. */
  readonly variables?: JsonObject;
}

/** Texts of the special tokens that templates know by name: bos_token, eos_token and so on. */
export type NamedTokens = Readonly<Record<string, string>>;

export class ChatTemplate {
  readonly source: string;
  readonly render: Render;
  #form: CallForm | undefined;
  #takesTools: boolean | undefined;

  /** Errors: an Error that says what is wrong with the source. */
  constructor(source: string, tokens: NamedTokens) {
    const template = new Template(source);
    this.source = source;
    // Templates tell "no tools" by none, as their reference implementation passes it.
    this.render = (messages, more) => template.render({ tools: null, documents: null, ...more, ...tokens, messages });
  }

  /**
   * Ends where the assistant's turn begins. Errors: INVALID_ARGUMENT for a conversation that the template refuses, and
   * for tools that it would leave out.
   */
  prompt({ messages, tools = [], variables = {} }: Conversation): string {
    if (tools.length > 0 && !this.#canTakeTools()) {
      throw new TriremeError('INVALID_ARGUMENT', "the model's chat template has no place for tools", {
        remedy: 'describe them in a message, and set reply_format to get calls as fields',
      });
    }
    const more = {
      ...variables,
      tools: tools.length > 0 ? tools.map((tool) => ({ type: 'function', function: tool })) : null,
      add_generation_prompt: true,
    };
    try {
      return this.render(
        messages.map((turn) => this.#messageOf(turn)),
        more,
      );
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TriremeError('INVALID_ARGUMENT', `the model's chat template refuses this conversation: ${reason}`, {
        cause,
        remedy: 'check roles and their order, or send the prompt as text',
      });
    }
  }

  #canTakeTools(): boolean {
    this.#takesTools ??= rendersTools(this.render);
    return this.#takesTools;
  }

  /** The spelling that templates expect; a field that is empty is left out, because some test for its presence. */
  #messageOf({ role, content, reasoning, toolCalls = [], toolCallId, name }: ChatTurn): JsonObject {
    const rest = {
      ...(reasoning ? { reasoning_content: reasoning, thinking: reasoning } : {}),
      ...(toolCallId ? { tool_call_id: toolCallId } : {}),
      ...(name ? { name } : {}),
    };
    if (toolCalls.length === 0) return { role, content, ...rest };
    this.#form ??= findCallForm(this.render);
    const { argumentsAsText, emptyContent } = this.#form;
    const calls = toolCalls.map((call) => ({
      ...{ id: call.id, type: 'function' },
      function: { name: call.name, arguments: argumentsAsText ? call.arguments : objectOf(call.arguments) },
    }));
    return { role, content: content === '' ? emptyContent : content, ...rest, tool_calls: calls };
  }
}

/** What is no JSON object stays text: the model may have written it, and sees it again as it was. */
function objectOf(json: string): JsonObject | string {
  const value = parseJson(json)?.value;
  return isJsonObject(value) ? value : json;
}
