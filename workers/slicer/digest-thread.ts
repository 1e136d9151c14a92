/** A thread that takes the digests of files, tells how far it is, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '#platform/assert.ts';
import { digestFile } from './digest.ts';
import type { DigestReply, DigestTask } from './input-digests.ts';
import { failureOf } from './thread-failure.ts';

assert(parentPort, 'this module runs in a thread');
const port = parentPort;
const { folder, files } = workerData as DigestTask;
const reply = (message: DigestReply): void => port.postMessage(message);

try {
  for (const file of files) {
    reply({ kind: 'taken', digest: await digestFile(folder, file, (bytes) => reply({ kind: 'read', bytes })) });
  }
} catch (cause) {
  reply(failureOf(cause));
}
