/** Which template of a checkpoint serves a conversation: it may have one for those with tools beside the usual one. */
import { isJsonObject, type JsonObject } from '#platform/json-object.ts';
import { ChatTemplate, type Conversation, type NamedTokens } from './chat-template.ts';

/** Sources as the checkpoint has them. */
export interface TemplateSources {
  readonly usual: string;
  /** For conversations with tools; undefined: the usual one. */
  readonly withTools: string | undefined;
}

export class TemplateChoice {
  readonly usual: ChatTemplate;
  readonly withTools: ChatTemplate;

  /** Errors: an Error that says what is wrong with a source. */
  constructor(sources: TemplateSources, tokens: NamedTokens) {
    this.usual = new ChatTemplate(sources.usual, tokens);
    this.withTools = sources.withTools === undefined ? this.usual : new ChatTemplate(sources.withTools, tokens);
  }

  for({ tools = [] }: Conversation): ChatTemplate {
    return tools.length > 0 ? this.withTools : this.usual;
  }
}

/** The templates of a tokenizer_config.json: a text, or a list of named ones of which `default` and `tool_use` count. */
export function templatesOfConfig(config: JsonObject): TemplateSources | undefined {
  const template = config.chat_template;
  if (typeof template === 'string') return { usual: template, withTools: undefined };
  if (template === undefined || template === null) return undefined;
  const named = new Map(
    (Array.isArray(template) ? template.filter(isJsonObject) : []).map((entry) => [entry.name, entry.template]),
  );
  const usual = named.get('default');
  const withTools = named.get('tool_use');
  if (typeof usual !== 'string' || (withTools !== undefined && typeof withTools !== 'string')) {
    throw new Error('"chat_template" must be a text, or a list with one named "default"');
  }
  return { usual, withTools };
}
