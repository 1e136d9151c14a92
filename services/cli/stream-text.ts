/** A generation as text for a person: one choice as it comes, several one after the other, then the speed. */
import { isJsonObject, parseJson } from '#platform/json-object.ts';
import { type ChoiceDelta, type GenerateResponse, type ToolCallDelta, ToolCallFault } from '#proto/inference.ts';
import type { Terminal } from './terminal.ts';

export async function streamText(
  stream: AsyncIterable<GenerateResponse>,
  n: number,
  terminal: Terminal,
): Promise<void> {
  const choices = Array.from({ length: n }, () => new ShownChoice(n === 1 ? terminal : undefined));
  const startMs = performance.now();
  let firstTokenMs: number | undefined;
  let tokens = 0;
  for await (const message of stream) {
    for (const delta of message.choices) {
      if (delta.tokenIds.length > 0) firstTokenMs ??= performance.now();
      tokens += delta.tokenIds.length;
      choices[delta.index]?.add(delta);
    }
  }
  const endMs = performance.now();
  for (const [index, choice] of choices.entries()) choice.end(terminal, n === 1 ? '' : `[${index}] `);
  const toFirst = (firstTokenMs ?? endMs) - startMs;
  const perSecond = tokens / ((endMs - startMs) / 1000);
  terminal.note(`${tokens} tokens, ${perSecond.toFixed(1)} tokens/s, first token after ${toFirst.toFixed(0)} ms`);
}

interface ShownCall {
  readonly id: string;
  readonly name: string;
  arguments: string;
  fault: ToolCallFault;
}

class ShownChoice {
  #text = '';
  #reasoning = '';
  readonly #calls = new Map<number, ShownCall>();
  /** Where it is shown as it comes; undefined: at its end. */
  readonly #live: Terminal | undefined;

  constructor(live: Terminal | undefined) {
    this.#live = live;
  }

  add({ text, reasoning, toolCalls }: ChoiceDelta): void {
    if (reasoning !== '') this.#live?.aside(reasoning);
    // The answer begins on a line of its own.
    if (text !== '' && this.#text === '' && this.#reasoning !== '') this.#live?.aside('\n\n');
    this.#live?.write(text);
    this.#reasoning += reasoning;
    this.#text += text;
    for (const delta of toolCalls) this.#addCall(delta);
  }

  /** Begins each line with the label. */
  end(terminal: Terminal, label: string): void {
    if (!this.#live && this.#reasoning !== '') terminal.aside(`${label}${this.#reasoning}\n`);
    if (this.#live && this.#text === '' && this.#reasoning !== '') terminal.aside('\n');
    if (this.#text !== '' || this.#calls.size === 0) terminal.line(this.#live ? '' : `${label}${this.#text}`);
    for (const call of this.#calls.values()) terminal.line(`${label}${lineOf(call)}`);
  }

  #addCall({ index, id, name, arguments: piece, fault }: ToolCallDelta): void {
    const call = this.#calls.get(index) ?? { id, name, arguments: '', fault };
    call.arguments += piece;
    call.fault = fault;
    this.#calls.set(index, call);
  }
}

const faults = new Map<ToolCallFault, string>([
  [ToolCallFault.TOOL_CALL_FAULT_TRUNCATED, 'truncated'],
  [ToolCallFault.TOOL_CALL_FAULT_MALFORMED, 'malformed'],
]);

/** A call as one JSON object; arguments that are none are a text, beside the fault. */
function lineOf({ id, name, arguments: json, fault }: ShownCall): string {
  const value = parseJson(json)?.value;
  return JSON.stringify({ id, name, arguments: isJsonObject(value) ? value : json, fault: faults.get(fault) });
}
