/**
 * One measurement of the slicing benchmark, in a process of its own:
 *   slicing-run.ts slice CHECKPOINT OUT WEIGHTS RANKS [THREADS]
 *   slicing-run.ts plain CHECKPOINT OUT PACKAGE      reads CHECKPOINT, and writes as many files and bytes as PACKAGE has
 *   slicing-run.ts digested CHECKPOINT OUT PACKAGE   the same, with SHA-256 of every file
 */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { slice } from '../../workers/slicer/slice.ts';

export interface SlicingRun {
  /** Until all is written, as far as a program can tell. */
  readonly seconds: number;
  /** Until the disk has it. */
  readonly flushedSeconds: number;
}

const [side, checkpoint = '', out = '', ...others] = process.argv.slice(2);
const bufferBytes = 4 << 20;

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name))).sort();
}

function readAll(folder: string, buffer: Buffer, digest: (bytes: Uint8Array) => void): void {
  for (const file of filesBelow(folder)) {
    const descriptor = openSync(path.join(folder, file), 'r');
    for (;;) {
      const count = readSync(descriptor, buffer, 0, buffer.length, null);
      if (count === 0) break;
      digest(buffer.subarray(0, count));
    }
    closeSync(descriptor);
  }
}

/** Files of the names and sizes that `like` has, all new. */
function writeAll(folder: string, like: string, buffer: Buffer, digest: (bytes: Uint8Array) => void): void {
  for (const file of filesBelow(like)) {
    const place = path.join(folder, file);
    mkdirSync(path.dirname(place), { recursive: true });
    const descriptor = openSync(place, 'wx');
    for (let left = statSync(path.join(like, file)).size; left > 0; ) {
      const count = writeSync(descriptor, buffer, 0, Math.min(left, buffer.length));
      digest(buffer.subarray(0, count));
      left -= count;
    }
    closeSync(descriptor);
  }
}

function flushAll(folder: string): void {
  for (const file of filesBelow(folder)) {
    const descriptor = openSync(path.join(folder, file), 'r');
    fsyncSync(descriptor);
    closeSync(descriptor);
  }
}

const start = performance.now();
const secondsSince = (): number => (performance.now() - start) / 1000;
if (side === 'slice') {
  const [weights = '', ranks = '', threads] = others;
  const chosen = threads === undefined ? {} : { threads: Number(threads) };
  await slice({ model: checkpoint, out, weights: weights as WeightFormat, ranks: Number(ranks), ...chosen });
} else {
  const buffer = Buffer.alloc(bufferBytes);
  const hash = createHash('sha256');
  const digest = side === 'digested' ? (bytes: Uint8Array) => hash.update(bytes) : () => {};
  readAll(checkpoint, buffer, digest);
  writeAll(out, others[0] ?? '', buffer, digest);
}
const seconds = secondsSince();
flushAll(out);
console.log(JSON.stringify({ seconds, flushedSeconds: secondsSince() } satisfies SlicingRun));
