import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { Lifecycle } from './lifecycle.ts';
import { createLogger } from './log.ts';

function start(stopB: () => Promise<void> = async () => {}) {
  const steps: string[] = [];
  const exited = Promise.withResolvers<number>();
  const process = Object.assign(new EventEmitter(), { exit: (status: number) => exited.resolve(status) });
  const lifecycle = new Lifecycle({ log: createLogger('silent'), process });
  lifecycle.add({
    name: 'a',
    drain: async () => void steps.push('drain a'),
    stop: async () => void steps.push('stop a'),
  });
  lifecycle.add({
    name: 'b',
    stop: async () => {
      steps.push('stop b');
      await stopB();
    },
  });
  lifecycle.becomeReady();
  return { process, lifecycle, steps, exited: exited.promise };
}

test('SIGTERM drains, stops in reverse order and exits 0', async () => {
  const { process, steps, exited } = start();
  process.emit('SIGTERM');
  expect(await exited).toBe(0);
  expect(steps).toEqual(['drain a', 'stop b', 'stop a']);
});

test('a second signal exits at once with 130', async () => {
  const { process, exited } = start(() => new Promise(() => {}));
  process.emit('SIGTERM');
  process.emit('SIGINT');
  expect(await exited).toBe(130);
});

test('an uncaught exception exits 70, and a failing stop does not keep the others from stopping', async () => {
  const crashed = start();
  crashed.process.emit('uncaughtException', new Error('bug'));
  expect(await crashed.exited).toBe(70);
  const failing = start(() => Promise.reject(new Error('stuck')));
  await failing.lifecycle.shutDown();
  expect(await failing.exited).toBe(70);
  expect(failing.steps.at(-1)).toBe('stop a');
});
