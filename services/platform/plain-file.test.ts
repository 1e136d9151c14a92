import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPlainFile, readPlainFile, readPlainFileSync } from './plain-file.ts';

let folder: string;
const at = (name: string): string => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'trireme-plain-'));
  await writeFile(at('plain'), 'text');
  await symlink('plain', at('link'));
  await symlink('nowhere', at('dangling'));
  await symlink('circle', at('circle'));
  await symlink('/dev/zero', at('endless'));
  await mkdir(at('folder'));
  execFileSync('mkfifo', [at('pipe')]);
  await writeFile(at('long'), '');
  await truncate(at('long'), (256 << 20) + 1);
});
afterAll(() => rm(folder, { recursive: true }));

const readers = [
  ['readPlainFile', readPlainFile],
  ['readPlainFileSync', async (file: string) => readPlainFileSync(file)],
] as const;

test.each(readers)('%s reads a file, also through a link, and says when there is none', async (_, read) => {
  expect(Buffer.from((await read(at('plain')))!).toString()).toBe('text');
  expect(Buffer.from((await read(at('link')))!).toString()).toBe('text');
  for (const name of ['nothing', 'dangling', 'plain/below']) expect(await read(at(name))).toBeUndefined();
});

const odd = [
  ['folder', /is a folder/],
  ['pipe', /is no regular file/],
  ['endless', /is no regular file/],
  ['circle', /ELOOP/],
] as const;

test.each(odd)('a %s is refused, and nobody waits for it', async (name, message) => {
  for (const read of [...readers.map(([, reader]) => reader), openPlainFile]) {
    const reading = read(at(name));
    await expect(reading).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringMatching(message),
      remedy: expect.any(String),
    });
  }
});

test('a file that is too long to be read whole can still be opened', async () => {
  await expect(readPlainFile(at('long'))).rejects.toMatchObject({ code: 'IO_ERROR', message: /more than 268435456/ });
  await using handle = await openPlainFile(at('long'));
  expect((await handle?.stat())?.size).toBe((256 << 20) + 1);
});
