import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { requireSafePath } from './repo-path.ts';

test.each(['config.json', 'a/b/c.txt', '.gitattributes', '...', 'a..b', 'Größe.txt', 'with space', 'ab:c'])(
  '%j is a name',
  (name) => {
    expect(() => requireSafePath(name, 'acme/tiny')).not.toThrow();
  },
);

test.each([
  ['', /empty/],
  ['..', /another folder/],
  ['../x', /another folder/],
  ['a/../../x', /another folder/],
  ['a/..', /another folder/],
  ['./x', /another folder/],
  ['/etc/passwd', /absolute/],
  ['a//b', /empty/],
  ['a/', /empty/],
  ['a\0b', /control/],
  ['a\nb', /control/],
  ['a\u007fb', /control/],
  ['a\\b', /Windows/],
  ['..\\x', /Windows/],
  ['C:/x', /Windows/],
  ['c:x', /Windows/],
  ['a\ud800b', /Unicode/],
])('%j is refused', (name, reason) => {
  const refused = () => requireSafePath(name, 'acme/tiny');
  expect(refused).toThrow(reason);
  expect(refused).toThrow(expect.objectContaining({ code: 'UNSAFE_FILE_NAME' }));
});

test('a name may be as long as file systems allow', () => {
  expect(() => requireSafePath('x'.repeat(255), 'acme/tiny')).not.toThrow();
});

test('names and paths that no file system holds are refused', () => {
  for (const name of ['x'.repeat(256), 'ü'.repeat(128), Array(600).fill('x').join('/')]) {
    expect(() => requireSafePath(name, 'acme/tiny')).toThrow(/too long/);
  }
});

const seed = Number(process.env.HUB_SEED ?? Date.now() % 2 ** 31);

test(`whatever passes stays below the folder it is joined to (HUB_SEED=${seed})`, () => {
  const piece = fc.constantFrom('.', '..', '/', '\\', 'a', 'C:', '\0', ' ', '%2e');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const name = pieces.join('');
      try {
        requireSafePath(name, 'acme/tiny');
      } catch {
        return;
      }
      expect(path.resolve('/base', name)).toBe(`/base/${name}`);
    }),
    { seed, numRuns: 2000 },
  );
});
