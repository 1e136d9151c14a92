/** A thread that opens a checkpoint and encodes weights of it, one after the other, until it is ended. */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '#platform/assert.ts';
import type { EncoderReply, EncoderTask } from './encoder-messages.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { failureOf } from './thread-failure.ts';
import { WeightEncoder } from './weight-encoder.ts';

assert(parentPort, 'this module runs in a thread');
const port = parentPort;
const tasks: EncoderTask[] = [];
port.on('message', (task: EncoderTask) => tasks.push(task));

function reply(message: EncoderReply): void {
  port.postMessage(message, message.kind === 'encoded' ? [message.memory] : []);
}

async function work(): Promise<never> {
  await using checkpoint = await openCheckpoint(workerData as string);
  const encoder = new WeightEncoder(ModelTensors.find(checkpoint));
  for (;;) {
    const task = tasks.shift();
    if (!task) {
      await once(port, 'message');
      continue;
    }
    await encoder.encode(task.weight, task.memory);
    reply({ kind: 'encoded', memory: task.memory });
  }
}

try {
  await work();
} catch (cause) {
  reply(failureOf(cause));
}
