/**
 * Opens the sessions of a rank's pieces, one after the other, out of graphs.bin, and reads its vectors. Holds one graph at a time: ONNX Runtime reads
 * it and maps the weights from their file.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import type { ShardManifest } from '../models/manifest.ts';
import type { Runtime, Session } from '../runtime/runtime.ts';
import { rankFiles } from './package.ts';

/** Native code reads the graph where it lies; smaller arrays may lie in the V8 heap, where they move. */
const minimumBytes = 4096;

export interface PieceOpenerOptions {
  readonly runtime: Runtime;
  /** The package's folder; its files have been verified. */
  readonly folder: string;
  readonly shard: ShardManifest;
  /** After each piece; may throw to end the loading. */
  readonly onProgress?: (opened: number, total: number) => void;
}

export class PieceOpener {
  readonly #options: PieceOpenerOptions;
  readonly #file: number;
  readonly #graph: Uint8Array;
  readonly #folder: string;
  readonly #total: number;
  #opened = 0;

  constructor(options: PieceOpenerOptions) {
    const { folder, shard } = options;
    this.#options = options;
    const sizes = Object.values(shard.pieces).map(({ bytes }) => bytes);
    this.#total = sizes.length;
    this.#graph = new Uint8Array(Math.max(minimumBytes, ...sizes));
    const file = path.join(folder, rankFiles.graphs(shard.rank));
    this.#folder = path.dirname(file);
    this.#file = openSync(file, 'r');
  }

  /** Errors: NOT_A_PACKAGE when there is no such piece, RUNTIME_ERROR when it cannot be opened. */
  open(name: string): Session {
    const { runtime, shard, onProgress } = this.#options;
    const location = shard.pieces[name];
    if (!location) throw new TriremeError('NOT_A_PACKAGE', `the package has no piece ${name} for rank ${shard.rank}`);
    const graph = this.#graph.subarray(0, location.bytes);
    if (readSync(this.#file, graph, 0, location.bytes, location.offset) !== location.bytes) {
      throw new TriremeError('TRUNCATED_FILE', `piece ${name} of rank ${shard.rank} reaches beyond its file`);
    }
    const session = runtime.openSession(name, graph, this.#folder);
    onProgress?.(++this.#opened, this.#total);
    return session;
  }

  /** A vector of weights.bin. Errors: NOT_A_PACKAGE, TRUNCATED_FILE. */
  readVector(name: string): Float32Array {
    const { folder, shard } = this.#options;
    const location = shard.vectors[name];
    if (!location) throw new TriremeError('NOT_A_PACKAGE', `the package has no vector ${name} for rank ${shard.rank}`);
    // Native code may read a vector's width beyond the end.
    const memory = new Float32Array(Math.max(minimumBytes / Float32Array.BYTES_PER_ELEMENT, location.count));
    const vector = memory.subarray(0, location.count);
    const file = openSync(path.join(folder, rankFiles.weights(shard.rank)), 'r');
    try {
      const bytes = new Uint8Array(vector.buffer, 0, vector.byteLength);
      if (readSync(file, bytes, 0, bytes.length, location.offset) === bytes.length) return vector;
      throw new TriremeError('TRUNCATED_FILE', `vector ${name} of rank ${shard.rank} reaches beyond its file`);
    } finally {
      closeSync(file);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}
