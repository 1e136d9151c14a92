import { expect, test } from 'vitest';
import { matchesGlob } from './glob.ts';
import { isNeeded, selectFiles } from './select-files.ts';

test.each([
  ['*.json', 'config.json', true],
  ['*.json', 'a/b.json', true],
  ['*.json', 'config.json.bak', false],
  ['model-0000?-of-2.safetensors', 'model-00001-of-2.safetensors', true],
  ['model-?.bin', 'model-12.bin', false],
  ['?', '', false],
  ['a.b', 'axb', false],
  ['[abc].txt', 'b.txt', true],
  ['[!abc].txt', 'b.txt', false],
  ['[a-c].txt', 'b.txt', true],
  ['[]x].txt', '].txt', true],
  ['[', '[', true],
  ['[ab', '[ab', true],
  ['a^b', 'a^b', true],
  ['[^a]', '^', true],
  ['(a|b)+', '(a|b)+', true],
  ['onnx/', 'onnx/x/model.onnx', true],
  ['onnx', 'onnx/model.onnx', false],
  ['**/x', 'a/b/x', true],
  ['X.json', 'x.json', false],
])('%s against %s: %s', (pattern, path, expected) => {
  expect(matchesGlob(path, pattern)).toBe(expected);
});

test('a row of stars takes no longer than one', () => {
  expect(matchesGlob('a'.repeat(1000), `${'*'.repeat(1000)}b`)).toBe(false);
});

const named = (...paths: string[]) => paths.map((path) => ({ path }));

test.each([
  'model.safetensors',
  'model-00001-of-00002.safetensors',
  'model.safetensors.index.json',
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer.model',
  'qwen.tiktoken',
  'merges.txt',
  'vocab.txt',
  'chat_template.jinja',
  'additional_chat_templates/tool_use.jinja',
])('%s is needed', (path) => {
  expect(isNeeded({ path })).toBe(true);
  expect(selectFiles(named(path), [])).toEqual(named(path));
});

test.each(['LICENSE', 'LICENCE.txt', 'License-Model', 'NOTICE', 'USE_POLICY.md', 'README.md'])(
  '%s is pulled, but a model works without it',
  (path) => {
    expect(isNeeded({ path })).toBe(false);
    expect(selectFiles(named(path), [])).toEqual(named(path));
  },
);

test.each([
  'pytorch_model.bin',
  'model.pth',
  'model.gguf',
  'onnx/config.json',
  'original/model.safetensors',
  'consolidated.00.safetensors',
  'modeling_x.py',
  '.gitattributes',
  'flax_model.msgpack',
])('%s is left out unless it is asked for', (path) => {
  expect(selectFiles(named(path), [])).toEqual([]);
  expect(selectFiles(named(path, 'config.json'), [path])).toEqual(named(path));
});

test('several patterns are taken together, each file once', () => {
  const files = named('a.json', 'b.json', 'c.gguf');
  expect(selectFiles(files, ['a.*', '*.json', '*.gguf'])).toEqual(files);
});

test('a pattern that matches nothing is an error that says what there is', () => {
  const refused = () => selectFiles(named('a.json', 'b.gguf'), ['*.json', '*.bin']);
  expect(refused).toThrow(/--include [*][.]bin/);
  expect(refused).toThrow(
    expect.objectContaining({ code: 'HUB_FILE_NOT_FOUND', remedy: expect.stringMatching(/b\.gguf/) }),
  );
});
