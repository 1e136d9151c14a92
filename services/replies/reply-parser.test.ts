import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readPieces, readSample } from '../../test/fixtures/read-reply.ts';
import { type ReplySample, replySamples } from '../../test/fixtures/reply-samples.ts';
import { maxHeldLength } from './reply-format.ts';
import { replyFormatNamed, replyFormats } from './reply-formats.ts';

const named = replySamples.map((sample): [string, ReplySample] => [
  `${sample.format}: a reply that ${sample.what}`,
  sample,
]);

test.for(named)('%s', ([, sample]) => {
  const { content = '', reasoning = '', calls = [] } = sample;
  const read = readSample(sample);
  expect({ content: read.content, reasoning: read.reasoning }).toEqual({ content, reasoning });
  const found = read.calls.map(({ name, id, fault, arguments: text }, i) => ({
    ...{ name, arguments: typeof calls[i]?.arguments === 'object' ? (JSON.parse(text) as unknown) : text },
    ...(id === undefined ? {} : { id }),
    ...(fault === undefined ? {} : { fault }),
  }));
  expect(found).toEqual(calls);
  expect(read.calls.every(({ ended }) => ended)).toBe(true);
  expect(read.source).toBe(sample.text);
});

test.for(named)('%s is the same cut in two anywhere, and unit by unit', ([, sample]) => {
  const whole = readSample(sample);
  for (let at = 1; at < sample.text.length; at++) {
    expect(readSample(sample, [sample.text.slice(0, at), sample.text.slice(at)])).toEqual(whole);
  }
  expect(readSample(sample, sample.text.split(''))).toEqual(whole);
});

test.for(named)('%s is the same in random pieces, and so is every beginning of it', ([, sample]) => {
  const cuts = fc.array(fc.nat(sample.text.length), { maxLength: 12 });
  fc.assert(
    fc.property(cuts, fc.nat(sample.text.length), (at, length) => {
      const text = sample.text.slice(0, length);
      const whole = readSample(sample, [text]);
      expect(readSample(sample, pieces(text, at))).toEqual(whole);
      expect(whole.source).toBe(text);
    }),
    { numRuns: 60 },
  );
});

/** Markers of all formats, and what stands between them. */
const vocabulary = [
  ...new Set(replyFormats.flatMap(({ markers }) => markers)),
  ...['<function=f>', '<parameter=k>', '\n</parameter>', '</function>', '<invoke name="f">', '<parameter name="k">'],
  ...['f', ' ', '\n', '\n\n', '```json', '```', '">', 'f">', '{"name": "f", "arguments": ', '{"a": [1, "}"]}'],
  ...['}', '{', '"', '\\', ',', ' to=functions.f', 'json', 'é', '😀', '<', 'x'],
];

/** Pieces at random, and replies of the format that went wrong between two markers. */
function jumbles(name: string, piece: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const markers = replyFormatNamed(name)!.markers.map((marker) => marker.replace(/[|\\(){}[\]^$*+?.]/g, '\\$&'));
  const atMarkers = new RegExp(`(${markers.join('|')})`);
  const sample = fc.constantFrom(...replySamples.filter(({ format }) => format === name).map(({ text }) => text));
  const edit = fc.record({ at: fc.nat(200), removed: fc.nat(2), piece });
  const broken = fc.tuple(sample, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([text, edits]) => {
    const parts = text.split(atMarkers);
    for (const { at, removed, piece } of edits) parts.splice(at % (parts.length + 1), removed, piece);
    return parts.join('');
  });
  return fc.oneof(
    fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
    broken,
  );
}

const names = replyFormats.map(({ name }) => name);

test.for(names)('%s: of any jumble of markers nothing is lost, wherever it is cut', (name) => {
  const options = fc.record({ promptEnd: fc.constantFrom('', '<think>\n', '</think>'), readsCalls: fc.boolean() });
  const cuts = fc.array(fc.nat(400), { maxLength: 20 });
  fc.assert(
    fc.property(jumbles(name, fc.constantFrom(...vocabulary)), options, cuts, (text, given, at) => {
      const whole = readPieces(name, [text], given);
      expect(whole.source).toBe(text);
      expect(readPieces(name, pieces(text, at), given)).toEqual(whole);
      expect(readPieces(name, text.split(''), given)).toEqual(whole);
      if (!given.readsCalls) expect(whole.calls).toEqual([]);
      for (const call of whole.calls) {
        expect(call.ended).toBe(true);
        if (call.fault === undefined) expect(JSON.parse(call.arguments)).toBeTypeOf('object');
      }
    }),
    { numRuns: 1500 },
  );
});

test.for(names)('%s: every word that stands among the markers is shown, in the text or in a call', (name) => {
  // In harmony what stands outside of messages is their headers.
  const word = name === 'harmony' ? '<|message|>WORD' : 'WORD';
  // A text in quotes behind the arguments is one more member of a call's object, which says nothing.
  const others = vocabulary.filter((piece) => !piece.startsWith('"'));
  const piece = fc.oneof(fc.constant(word), fc.constantFrom(...others));
  fc.assert(
    fc.property(jumbles(name, piece), fc.constantFrom('', '<think>\n'), (jumble, promptEnd) => {
      let count = 0;
      const text = jumble.replaceAll('WORD', () => `w${count++}.`);
      const { content, reasoning, calls } = readPieces(name, [text], { promptEnd });
      const shown = [content, reasoning, ...calls.flatMap((call) => [call.name, call.id, call.arguments])].join(' ');
      for (let i = 0; i < count; i++) expect(shown).toContain(`w${i}.`);
    }),
    { numRuns: 1500 },
  );
});

test('a value that has to be whole before it can be passed on has a longest length', () => {
  const call = (value: string): string =>
    `<tool_call><function=weather><parameter=days>${value}</parameter></function></tool_call>.`;
  const longest = '1'.repeat(maxHeldLength);
  expect(readPieces('qwen-xml', [call(longest)])).toMatchObject({
    content: '.',
    calls: [{ arguments: `{"days":${longest}}` }],
  });
  expect(readPieces('qwen-xml', [call(`${longest}1`)])).toMatchObject({
    content: `${longest}1</parameter></function></tool_call>.`,
    calls: [{ arguments: '{"days":', fault: 'malformed' }],
  });
  const early = `<tool_call>{"arguments": {"a": "${longest}"}, "name": "f"}</tool_call>`;
  expect(readPieces('hermes', [early])).toMatchObject({ content: early, calls: [] });
  expect(readPieces('hermes', early.match(/.{1,1000}/gs)!)).toMatchObject({ content: early, calls: [] });
});

test('names and headers have a longest length, and what is longer is content', () => {
  const call = (name: string): string => `<tool_call><function=${name}></function></tool_call>`;
  const header = (length: number): string => `<|channel|>analysis${' '.repeat(length - 19)}<|message|>x`;
  for (const pieces of [(text: string) => [text], (text: string) => text.split('')]) {
    expect(readPieces('qwen-xml', pieces(call('f'.repeat(256)))).calls).toHaveLength(1);
    expect(readPieces('qwen-xml', pieces(call('f'.repeat(257))))).toMatchObject({ content: call('f'.repeat(257)) });
    expect(readPieces('harmony', pieces(header(512)))).toMatchObject({ content: '', reasoning: 'x' });
    expect(readPieces('harmony', pieces(header(513)))).toMatchObject({ content: header(513), reasoning: '' });
  }
});

test.for(names)('%s: text without markers comes through as it is and at once', (name) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      fc.pre(!/[<\n ]/.test(text));
      expect(readPieces(name, [text])).toMatchObject({ content: text, reasoning: '', calls: [] });
    }),
  );
});

function pieces(text: string, cuts: readonly number[]): string[] {
  const at = [0, ...cuts.map((cut) => Math.min(cut, text.length)), text.length].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => text.slice(at[i], end));
}
