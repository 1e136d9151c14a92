import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** A thread that sits in native code until its standard input ends, and a main thread that leaves when told to. */
const program = `
  import { Worker } from 'node:worker_threads';
  import { exitAtOnce } from ${JSON.stringify(join(import.meta.dirname, 'exit-at-once.ts'))};
  const stuck = "import { spawnSync } from 'node:child_process'; spawnSync('sh', ['-c', 'echo stuck; cat'], { stdio: 'inherit' })";
  new Worker(stuck, { eval: true });
  process.on('message', () => exitAtOnce(70));
`;

test('a process leaves with its status while one of its threads does not return from native code', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
  });
  await once(child.stdout!, 'data');
  const exited = once(child, 'exit');
  child.send('leave');
  expect(await exited).toEqual([70, null]);
  child.stdin!.end();
});
