/**
 * Loaded before a program (--import): sends it a signal as it changes the file system, so that a kill can fall between any two steps,
 * however short the time between them. TRIREME_KILL is `change N SIGNAL` for the moment before the n-th call that changes something,
 * `move-before N SIGNAL` or `move-after N SIGNAL` around the n-th of those by which something gets or loses its name, few as they are, or
 * `count` to print `changes N, moves N` at the end.
 */
import { promises, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

type Functions = Record<string, (...values: unknown[]) => Promise<unknown>>;

const moving = ['rename', 'symlink', 'unlink'];
const changing = ['open', 'mkdir', 'rm', 'writeFile', 'copyFile', ...moving];
const changingByHandle = ['write', 'truncate', 'sync', 'datasync', 'close'];

const [moment = 'count', word = '', signal = 'SIGKILL'] = (process.env.TRIREME_KILL ?? '').split(' ');
const counts = { changes: 0, moves: 0 };

function signalAt(point: string, count: number): void {
  if (moment === point && count === Number(word)) process.kill(process.pid, signal);
}

function wrap(functions: Functions, names: readonly string[]): void {
  for (const name of names) {
    const original = functions[name]!;
    functions[name] = async function (this: unknown, ...values: unknown[]) {
      signalAt('change', ++counts.changes);
      if (!moving.includes(name)) return original.apply(this, values);
      const count = ++counts.moves;
      signalAt('move-before', count);
      const result = await original.apply(this, values);
      signalAt('move-after', count);
      return result;
    };
  }
}

if (isMainThread) {
  const handle = await promises.open(process.execPath);
  wrap(Object.getPrototypeOf(handle), changingByHandle);
  await handle.close();
  wrap(promises as unknown as Functions, changing);
  syncBuiltinESMExports();
  counts.changes = 0;
  if (moment === 'count') process.on('exit', () => writeSync(1, `changes ${counts.changes}, moves ${counts.moves}\n`));
}
