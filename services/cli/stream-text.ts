/** A generation as text for a person: one choice as it comes, several one after the other, then the speed. */
import type { GenerateResponse } from '#proto/inference.ts';
import type { Terminal } from './terminal.ts';

export async function streamText(
  stream: AsyncIterable<GenerateResponse>,
  n: number,
  terminal: Terminal,
): Promise<void> {
  const texts = new Array<string>(n).fill('');
  const startMs = performance.now();
  let firstTokenMs: number | undefined;
  let tokens = 0;
  for await (const { choices } of stream) {
    for (const { index, text, tokenIds } of choices) {
      if (tokenIds.length > 0) firstTokenMs ??= performance.now();
      tokens += tokenIds.length;
      texts[index] += text;
      if (n === 1) terminal.write(text);
    }
  }
  const endMs = performance.now();
  if (n === 1) terminal.line('');
  else for (const [choice, text] of texts.entries()) terminal.line(`[${choice}] ${text}`);
  const toFirst = (firstTokenMs ?? endMs) - startMs;
  const perSecond = tokens / ((endMs - startMs) / 1000);
  terminal.note(`${tokens} tokens, ${perSecond.toFixed(1)} tokens/s, first token after ${toFirst.toFixed(0)} ms`);
}
