import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
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
    drain: async () => void steps.push('drain b'),
    stop: async () => {
      steps.push('stop b');
      await stopB();
    },
  });
  lifecycle.becomeReady();
  return { process, lifecycle, steps, exited: exited.promise };
}

test('SIGTERM drains all, then stops all, each in reverse order, and exits 0', async () => {
  const { process, steps, exited } = start();
  process.emit('SIGTERM');
  expect(await exited).toBe(0);
  expect(steps).toEqual(['drain b', 'drain a', 'stop b', 'stop a']);
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

test('what a start that goes on adds after the end has begun is stopped as well', async () => {
  const released = Promise.withResolvers<void>();
  const { process, lifecycle, steps, exited } = start(() => released.promise);
  process.emit('SIGINT');
  lifecycle.add({ name: 'late', stop: async () => void steps.push('stop late') });
  released.resolve();
  expect(await exited).toBe(0);
  expect(steps.toSorted()).toEqual(['drain a', 'drain b', 'stop a', 'stop b', 'stop late']);
});

test('whoever shuts down a second time waits for the end, whose status the first has set', async () => {
  const { lifecycle, steps, exited } = start();
  void lifecycle.shutDown(65);
  await lifecycle.shutDown(0);
  expect(steps.at(-1)).toBe('stop a');
  expect([await exited, lifecycle.state]).toEqual([65, 'stopped']);
});

test('past the deadline it exits 75, whatever still hangs', async () => {
  const clock = new ManualClock();
  const exited = Promise.withResolvers<number>();
  const process = Object.assign(new EventEmitter(), { exit: (status: number) => exited.resolve(status) });
  const lifecycle = new Lifecycle({ log: createLogger('silent'), process, clock, deadlineMs: 1000 });
  lifecycle.add({ name: 'stuck', stop: () => new Promise(() => {}) });
  process.emit('SIGTERM');
  clock.advance(999);
  expect(lifecycle.state).toBe('draining');
  clock.advance(1);
  expect(await exited.promise).toBe(75);
});
