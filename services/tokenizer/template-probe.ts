/**
 * Finds out by trial what a chat template expects. Templates agree on the spelling of a plain message; on calls of tools
 * they do not, and no field of a checkpoint says which way a template goes.
 */
import type { JsonObject } from '#platform/json-object.ts';

/** Renders messages as a template sees them; what it throws is the template's own complaint. */
export type Render = (messages: readonly JsonObject[], more: JsonObject) => string;

/** How a template wants an assistant's message with calls. */
export interface CallForm {
  /** Arguments as JSON text, not as an object. */
  readonly argumentsAsText: boolean;
  /** What stands for no content. */
  readonly emptyContent: '' | null;
}

const forms: readonly CallForm[] = [
  { argumentsAsText: false, emptyContent: '' },
  { argumentsAsText: true, emptyContent: '' },
  { argumentsAsText: false, emptyContent: null },
  { argumentsAsText: true, emptyContent: null },
];

/** Words that no template writes by itself. */
const words = { tool: 'probed_tool', key: 'probed_key', value: 'probed_value', answer: 'probed_answer' };

const question: JsonObject = { role: 'user', content: 'probed_question' };

/** The first form of which the call's name and arguments arrive in the prompt; without any, the usual one. */
export function findCallForm(render: Render): CallForm {
  const fits = ({ argumentsAsText, emptyContent }: CallForm): boolean => {
    const given = { [words.key]: words.value };
    const call = { name: words.tool, arguments: argumentsAsText ? JSON.stringify(given) : given };
    const id = `functions.${words.tool}:0`;
    const messages = [
      question,
      { role: 'assistant', content: emptyContent, tool_calls: [{ id, type: 'function', function: call }] },
      { role: 'tool', content: 'probed_result', tool_call_id: id, name: words.tool },
    ];
    const prompt = attempt(render, messages, { add_generation_prompt: true });
    return prompt !== undefined && [words.tool, words.key, words.value].every((word) => prompt.includes(word));
  };
  return forms.find(fits) ?? forms[0]!;
}

/** Whether tools that a request brings arrive in the prompt. */
export function rendersTools(render: Render): boolean {
  const parameters = { type: 'object', properties: { [words.key]: { type: 'string' } } };
  const tool = { type: 'function', function: { name: words.tool, description: 'probed', parameters } };
  return attempt(render, [question], { tools: [tool], add_generation_prompt: true })?.includes(words.tool) ?? false;
}

/**
 * The token that ends an assistant's turn: what follows its content, or else what begins the next turn, since some models
 * end theirs by that. tokens: texts of the special ones. undefined: the template shows none.
 */
export function findTurnEnd(render: Render, tokens: Iterable<string>): string | undefined {
  const known = [...tokens].sort((a, b) => b.length - a.length);
  const conversation = [question, { role: 'assistant', content: words.answer }];
  for (const messages of [conversation, [...conversation, question]]) {
    const prompt = attempt(render, messages, { add_generation_prompt: false });
    const rest = prompt?.split(words.answer)[1]?.trimStart() ?? '';
    const found = known.find((token) => rest.startsWith(token));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** undefined: the template refuses. */
function attempt(render: Render, messages: readonly JsonObject[], more: JsonObject): string | undefined {
  try {
    return render(messages, more);
  } catch {
    // A template that refuses a trial has answered it.
    return undefined;
  }
}
