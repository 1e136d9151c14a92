import { expect, test } from 'vitest';
import { isCommit, parseModelReference, requireModelReference } from './model-reference.ts';

test.each([
  ['Qwen/Qwen3-30B-A3B', 'Qwen/Qwen3-30B-A3B', 'main', false],
  ['acme/tiny@v1.0', 'acme/tiny', 'v1.0', false],
  ['acme/tiny@refs/pr/12', 'acme/tiny', 'refs/pr/12', false],
  ['hf://acme/tiny@feature/x', 'acme/tiny', 'feature/x', true],
  ['a/b', 'a/b', 'main', false],
])('%s is %s at %s', (text, repo, revision, isExplicit) => {
  expect(parseModelReference(text)).toEqual({ repo, revision, isExplicit });
});

test.each([
  '',
  'tiny',
  'a/b/c',
  './a/b',
  '/a/b',
  'a/..',
  '../b',
  'a/b..c',
  'a/b--c',
  'a/-b',
  'a/b.git',
  'a/b.',
  'a/b\0',
  'a/b c',
  `a/${'b'.repeat(95)}`,
  'a/b@',
  'a/b@v1@v2',
  'a/b@../../x',
  'a/b@/x',
  'a/b@x//y',
  'a/b@x/../y',
  'a/b@-x',
  'a/b@x\ny',
  `a/b@${'x'.repeat(201)}`,
  'hf://tiny',
  'https://huggingface.co/a/b',
])('%j names no model', (text) => {
  expect(parseModelReference(text)).toBeUndefined();
  expect(() => requireModelReference(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
});

test('a commit is forty hexadecimal digits, not fewer', () => {
  expect(isCommit('0123456789abcdef0123456789abcdef01234567')).toBe(true);
  expect(isCommit('0123456789abcdef0123456789abcdef0123456')).toBe(false);
  expect(isCommit('0123456789ABCDEF0123456789abcdef01234567')).toBe(false);
});
