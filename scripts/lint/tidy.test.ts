/** House rules that no linter knows: names of files, and words that do not belong here. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const tracked = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).split('\n').filter(Boolean);
const sources = tracked.filter((file) => /\.(ts|proto)$/.test(file) && !file.startsWith('proto/gen/'));

test('no file has a name that says nothing', () => {
  const names = sources.filter((file) => /(^|\/)(utils?|helpers?|common|misc|types)\.ts$/.test(file));
  expect(names).toEqual([]);
});

test('files are named in kebab case', () => {
  const names = sources.filter(
    (file) => !/^[a-z0-9./-]+(\.[a-z0-9]+)*$/.test(file) && !file.startsWith('test/goldens/'),
  );
  expect(names).toEqual([]);
});

test('no test is skipped or runs alone', () => {
  const found = sources.filter(
    (file) =>
      /\.(test|e2e|sim)\.ts$/.test(file) && /\b(test|it|describe)\.(only|skip|todo)\(/.test(readFileSync(file, 'utf8')),
  );
  expect(found).toEqual([]);
});

test('every decision note that the docs name is there, and every local link leads somewhere', () => {
  const pages = tracked.filter((file) => file.endsWith('.md') && !file.startsWith('models/'));
  const broken = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\(([^)#:]+)\)/g)]
      .map(([, target]) => new URL(target ?? '', `file:///${page}`).pathname.slice(1))
      .filter((target) => !tracked.some((file) => file === target || file.startsWith(target.replace(/\/?$/, '/'))))
      .map((target) => `${page} -> ${target}`),
  );
  expect(broken).toEqual([]);
});
