/** Where a package is to go, and what may be there already: nothing of anybody else's is touched, nothing half-made stays. */
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { digestsOf, goldenCheckpoint, type TemporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { inMountNamespace } from '../harness/mount-namespace.ts';
import { refusal, run, withoutPrivileges } from './refusal.ts';

let folder: TemporaryFolder & { readonly checkpoint: string };
let out: string;
beforeEach(async () => {
  folder = await goldenCheckpoint('qwen3_moe');
  out = path.join(folder.path, 'package');
});
afterEach(() => folder[Symbol.asyncDispose]());

const slice = (...more: readonly string[]) => ['slice', '--model', folder.checkpoint, '--out', out, ...more];

test('a full disk ends slicing with 74, leaves nothing, and a run with room enough works', async () => {
  await mkdir(out);
  const commands = [
    `mount -t tmpfs -o size=400k tmpfs '${out}'`,
    // The first run must fail; its words go to stderr, where they are looked for.
    `"$@" --out '${out}/package' && exit 1`,
    `echo "left behind: $(ls -A '${out}' | wc -l)" >&2`,
    `mount -o remount,size=8m '${out}'`,
  ];
  const flags = ['slice', '--model', folder.checkpoint, '--ranks', '2', '--weights', 'fp32', '--out', `${out}/package`];
  const { status, stderr, stdout } = await run(flags, { prefix: inMountNamespace(commands.join('\n')) });
  expect([status, stdout]).toEqual([0, expect.stringContaining('checkpoint, 2 ranks, fp32')]);
  const [line, left] = stderr.trimEnd().split('\n');
  expect(line).toMatch(
    /^DISK_FULL: cannot .*: no space left. Free some space or choose another folder; nothing was left/,
  );
  expect(left).toBe('left behind: 0');
});

test('the status of a full disk is 74, with --json too', async () => {
  await mkdir(out);
  const prefix = inMountNamespace(`mount -t tmpfs -o size=400k tmpfs '${out}'`);
  const flags = ['slice', '--model', folder.checkpoint, '--ranks', '2', '--weights', 'fp32', '--out', `${out}/package`];
  expect(await refusal(flags, { prefix })).toMatchObject({ code: 'DISK_FULL', status: 74 });
});

test.each(['0', '-1', '3', '5', '1e9', '1000000000', 'abc', '1.5', ''])(
  '--ranks %s is refused with 64',
  async (ranks) => {
    const { code, status, line } = await refusal(slice('--ranks', ranks));
    const isWhole = ranks === '3' || ranks === '5';
    expect([code, status]).toEqual([isWhole ? 'ILLEGAL_RANK_COUNT' : 'INVALID_ARGUMENT', 64]);
    expect(line).toMatch(
      isWhole ? /; legal rank counts: 1, 2, 4, 8$/ : /--ranks.*Expected a whole number from 1 to 1024/,
    );
    expect(await readdir(folder.path)).toEqual(['checkpoint']);
  },
);

test('weights of a form that there is not are refused with those that there are', async () => {
  const { code, status, line } = await refusal(slice('--ranks', '2', '--weights', 'int5'));
  expect([code, status, line]).toEqual([
    'INVALID_ARGUMENT',
    64,
    expect.stringMatching(/Allowed choices are native, int4, int8, fp32/),
  ]);
});

test.each([
  [
    'a folder with something else',
    async () => {
      await mkdir(out);
      await writeFile(path.join(out, 'letter.txt'), 'Dear Ishmael');
    },
    /is not empty and holds no package. Name a new folder/,
  ],
  [
    'a folder with the manifest of another program',
    async () => {
      await mkdir(out);
      await writeFile(path.join(out, 'manifest.json'), '{"name":"a web page","icons":[]}');
    },
    /is not empty and holds no package/,
  ],
  [
    'a folder with a manifest that nobody can read',
    async () => {
      await mkdir(out);
      await writeFile(path.join(out, 'manifest.json'), '{');
    },
    /is not empty and holds no package/,
  ],
  ['a file', () => writeFile(out, 'my thesis'), /is no folder/],
])('%s in the place of the package stays as it is', async (_, prepare, message) => {
  await prepare();
  const before = await digestsOf(folder.path);
  const { code, status, line } = await refusal(slice('--ranks', '2'));
  expect([code, status, line]).toEqual(['INVALID_ARGUMENT', 64, expect.stringMatching(message)]);
  expect(await digestsOf(folder.path)).toEqual(before);
});

test('a place below a file, and one that may not be written, are IO_ERROR with 74', async () => {
  await writeFile(path.join(folder.path, 'file'), '');
  const below = ['slice', '--model', folder.checkpoint, '--ranks', '2', '--out', path.join(folder.path, 'file', 'x')];
  expect(await refusal(below)).toMatchObject({ code: 'IO_ERROR', status: 74 });
  const closed = path.join(folder.path, 'closed');
  await mkdir(closed, { mode: 0o555 });
  const flags = ['slice', '--model', folder.checkpoint, '--ranks', '2', '--out', path.join(closed, 'package')];
  const { code, status, line } = await refusal(flags, { prefix: withoutPrivileges });
  expect([code, status]).toEqual(['IO_ERROR', 74]);
  expect(line).toMatch(/EACCES.*Give the user that runs this the right to it, or name another place$/);
  await chmod(closed, 0o755);
  expect(await readdir(closed)).toEqual([]);
});

test('a package on a file system that cannot be written is IO_ERROR with a remedy', async () => {
  await mkdir(out);
  const prefix = inMountNamespace(`mount -t tmpfs -o ro tmpfs '${out}'`);
  const flags = ['slice', '--model', folder.checkpoint, '--ranks', '2', '--out', path.join(out, 'package')];
  const { code, status, line } = await refusal(flags, { prefix });
  expect([code, status, line]).toEqual(['IO_ERROR', 74, expect.stringMatching(/Choose a place that can be written$/)]);
});

test('a link to a folder leads to where the package goes', async () => {
  const large = path.join(folder.path, 'large-disk');
  await mkdir(large);
  await symlink(large, out);
  expect(lastLineOf(await run(slice('--ranks', '2')))).toContain('2 ranks');
  expect((await readdir(large)).sort()).toEqual(['manifest.json', 'rank-0', 'rank-1', 'tokenizer.json']);
  expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'large-disk', 'package']);
});

const lastLineOf = ({ stdout }: { stdout: string }): string => stdout.trimEnd().split('\n').at(-1) ?? '';
