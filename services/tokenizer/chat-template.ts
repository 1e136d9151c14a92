/** A model's chat template: a conversation becomes the text of a prompt that the model's answer continues. */
import { Template } from '@huggingface/jinja';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject } from './package-files.ts';

export interface ChatTurn {
  readonly role: string;
  readonly content: string;
}

/** Texts of the special tokens that templates know by name: bos_token, eos_token and so on. */
export type NamedTokens = Readonly<Record<string, string>>;

export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: NamedTokens;

  /** Errors: an Error that says what is wrong with the source. */
  constructor(source: string, tokens: NamedTokens) {
    this.#template = new Template(source);
    this.#tokens = tokens;
  }

  /** Ends where the assistant's turn begins. Errors: INVALID_ARGUMENT for a conversation that the template refuses. */
  render(messages: readonly ChatTurn[]): string {
    try {
      return this.#template.render({ ...this.#tokens, messages, add_generation_prompt: true });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TriremeError('INVALID_ARGUMENT', `the model's chat template refuses this conversation: ${reason}`, {
        cause,
        remedy: 'check roles and their order, or send the prompt as text',
      });
    }
  }
}

/** The template of a tokenizer_config.json: a text, or a list of named ones of which `default` counts. */
export function templateOfConfig(config: JsonObject): string | undefined {
  const template = config.chat_template;
  if (typeof template === 'string') return template;
  if (template === undefined || template === null) return undefined;
  const named = Array.isArray(template) ? template.filter(isJsonObject) : [];
  const source = named.find(({ name }) => name === 'default')?.template;
  if (typeof source === 'string') return source;
  throw new Error('"chat_template" must be a text, or a list with one named "default"');
}
