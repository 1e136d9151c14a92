import { beforeAll, describe, expect, test } from 'vitest';
import { loadTokenizer, type Tokenizer } from '#tokenizer/tokenizer.ts';
import { readPieces, readSample } from '../../test/fixtures/read-reply.ts';
import { byteTokens, realTokenizers } from '../../test/fixtures/real-tokenizers.ts';
import { type ReplySample, replySamples } from '../../test/fixtures/reply-samples.ts';
import { chooseReplyFormat, replyFormatNamed } from './reply-formats.ts';

const named = replySamples.map((sample): [string, ReplySample] => [
  `${sample.format}: a reply that ${sample.what}`,
  sample,
]);

const families = [
  ['DeepSeek', 'deepseek-v3'],
  ['Qwen', 'hermes'],
] as const;

describe.each(families)('the tokenizer of %s', (family, format) => {
  let tokenizer: Tokenizer;
  let bytes: readonly number[];
  beforeAll(async () => {
    tokenizer = await loadTokenizer(realTokenizers[family]);
    bytes = byteTokens(realTokenizers[family]);
  });

  /** The text that each token completes, as a router's stream brings it. */
  function piecesOf(ids: readonly number[], { format: name }: ReplySample): string[] {
    const { markers } = replyFormatNamed(name)!;
    const showsSpecial = (text: string): boolean => markers.some((marker) => marker.includes(text));
    const stream = tokenizer.createDetokenizer({ showsSpecial });
    return [...ids.map((id) => stream.push(id)), stream.end()];
  }

  test('comes with a template that tells its format', () => {
    const { templates, tokens } = tokenizer.markup;
    expect(chooseReplyFormat(templates, tokens)?.name).toBe(format);
  });

  test.for(named)('%s is the same cut at every token', ([, sample]) => {
    const ids = tokenizer.encode(sample.text);
    const pieces = piecesOf(ids, sample);
    expect(pieces.join('')).toBe(sample.text);
    expect(readSample(sample, pieces)).toEqual(readSample(sample));
    for (let at = 1; at < pieces.length; at++) {
      const halves = [pieces.slice(0, at).join(''), pieces.slice(at).join('')];
      expect(readSample(sample, halves)).toEqual(readSample(sample));
    }
  });

  test.for(named)('%s is the same cut at every byte', ([, sample]) => {
    const ids = [...new TextEncoder().encode(sample.text)].map((byte) => bytes[byte]!);
    const pieces = piecesOf(ids, sample);
    expect(pieces.join('')).toBe(sample.text);
    expect(readSample(sample, pieces)).toEqual(readSample(sample));
  });

  test.for(named)('%s: of what comes before the reply ends at any byte nothing is lost', ([, sample]) => {
    const ids = [...new TextEncoder().encode(sample.text)].map((byte) => bytes[byte]!);
    const { format: name, promptEnd = '', readsCalls = true } = sample;
    for (let length = 0; length < ids.length; length++) {
      const pieces = piecesOf(ids.slice(0, length), sample);
      expect(readPieces(name, pieces, { promptEnd, readsCalls }).source).toBe(pieces.join(''));
    }
  });
});
