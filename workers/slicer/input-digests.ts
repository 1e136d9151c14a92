/**
 * SHA-256 of the files of a checkpoint. A digest takes longer than whatever else slicing does with a byte that stays as it is, so that a
 * thread of its own takes these while the writing one takes those of the package.
 */
import { Worker } from 'node:worker_threads';
import { TriremeError } from '#platform/errors.ts';
import type { FileDigest } from '../models/manifest.ts';
import { digestFile } from './digest.ts';
import { errorOf, type ThreadFailure } from './thread-failure.ts';

/** Names relative to the folder. */
export interface DigestTask {
  readonly folder: string;
  readonly files: readonly string[];
}

/** One `taken` for each file, in their order; none after a failure. */
export type DigestReply =
  | { readonly kind: 'read'; readonly bytes: number }
  | { readonly kind: 'taken'; readonly digest: FileDigest }
  | ThreadFailure;

/** Errors: IO_ERROR; what `onRead`, told how many bytes were read, throws. */
export async function digestHere(
  { folder, files }: DigestTask,
  onRead: (bytes: number) => void,
): Promise<FileDigest[]> {
  const digests: FileDigest[] = [];
  for (const file of files) digests.push(await digestFile(folder, file, onRead));
  return digests;
}

/** As digestHere, in a thread that has ended when the promise settles. */
export async function digestInThread(task: DigestTask, onRead: (bytes: number) => void): Promise<FileDigest[]> {
  const worker = new Worker(new URL('./digest-thread.ts', import.meta.url), { name: 'digests', workerData: task });
  const digests: FileDigest[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const receive = (reply: DigestReply): void => {
    if (reply.kind === 'failed') reject(errorOf(reply));
    else if (reply.kind === 'read') onRead(reply.bytes);
    else if (digests.push(reply.digest) === task.files.length) resolve();
  };
  worker.on('error', (cause) => reject(TriremeError.from(cause)));
  worker.on('message', (reply: DigestReply) => {
    try {
      receive(reply);
    } catch (cause) {
      reject(cause);
    }
  });
  try {
    if (task.files.length > 0) await promise;
    return digests;
  } finally {
    await worker.terminate();
  }
}
