/**
 * The low-rank adapters of one rank, in memory that its thread and the worker's main thread share: a fixed number of places, each
 * with room for every matrix that adapters may change. The main thread fills a place that no request uses, or clears it; the
 * rank multiplies by what lies there. Room that nobody has written costs address space only.
 */
import { assert } from '#platform/assert.ts';
import type { AdaptedMatrix, ShardManifest } from '../models/manifest.ts';

export interface AdapterCapacity {
  /** Adapters in memory at a time. */
  readonly places: number;
  /** Largest rank of one. */
  readonly rank: number;
}

/** What an adapter does to one matrix, cut for a rank: adds scale * up^T (down x). */
export interface AdapterSlice {
  /** [rank, columns] */
  readonly down: Float32Array;
  /** [rank, rows] */
  readonly up: Float32Array;
  readonly rank: number;
  readonly scale: number;
}

interface MatrixPlace {
  readonly inner: number;
  readonly outer: number;
  /** Offsets in floats. */
  readonly down: number;
  readonly up: number;
}

export class AdapterMemory {
  readonly capacity: AdapterCapacity;
  readonly buffer: SharedArrayBuffer;
  readonly #pieces = new Map<string, readonly MatrixPlace[]>();
  readonly #floats: Float32Array;

  private constructor(shard: ShardManifest, capacity: AdapterCapacity, buffer: SharedArrayBuffer | undefined) {
    this.capacity = capacity;
    let end = 0;
    const take = (floats: number): number => {
      const start = end;
      end = Math.ceil((end + floats) / alignedFloats) * alignedFloats;
      return start;
    };
    const lines = capacity.places * capacity.rank;
    for (const [piece, matrices] of Object.entries(shard.adapted)) {
      const places = matrices.map((matrix) => {
        const [inner, outer] = [matrix.columns.count, outerOf(matrix)];
        return { inner, outer, down: take(lines * inner), up: take(lines * outer) };
      });
      this.#pieces.set(piece, places);
    }
    this.buffer = buffer ?? new SharedArrayBuffer(end * Float32Array.BYTES_PER_ELEMENT);
    assert(this.buffer.byteLength === end * Float32Array.BYTES_PER_ELEMENT, 'both sides lay the adapters out alike');
    this.#floats = new Float32Array(this.buffer);
  }

  static create(shard: ShardManifest, capacity: AdapterCapacity): AdapterMemory {
    return new AdapterMemory(shard, capacity, undefined);
  }

  static attach(shard: ShardManifest, capacity: AdapterCapacity, buffer: SharedArrayBuffer): AdapterMemory {
    return new AdapterMemory(shard, capacity, buffer);
  }

  /** Of the first `count` places: down [count * rank, columns] and up [count * rank, rows] of a piece's matrix. */
  views(piece: string, matrix: number, count: number) {
    const { inner, outer, down, up } = this.#place(piece, matrix);
    const lines = count * this.capacity.rank;
    return {
      down: { data: this.#floats.subarray(down, down + lines * inner), dims: [lines, inner] },
      up: { data: this.#floats.subarray(up, up + lines * outer), dims: [lines, outer] },
    };
  }

  /**
   * Fills a place. `sliceOf` says what the adapter does to a matrix; undefined: nothing. The scale goes into `up`, so that all
   * matrices of a row have the same factors.
   */
  write(place: number, shard: ShardManifest, sliceOf: (matrix: AdaptedMatrix) => AdapterSlice | undefined): void {
    for (const [piece, matrices] of Object.entries(shard.adapted)) {
      for (const [i, matrix] of matrices.entries()) this.#writeMatrix(place, this.#place(piece, i), sliceOf(matrix));
    }
  }

  #writeMatrix(place: number, { inner, outer, down, up }: MatrixPlace, slice: AdapterSlice | undefined): void {
    const { rank } = this.capacity;
    assert(place < this.capacity.places && (slice?.rank ?? 0) <= rank, 'an adapter fits its place');
    const downs = this.#floats.subarray(down + place * rank * inner, down + (place + 1) * rank * inner);
    const ups = this.#floats.subarray(up + place * rank * outer, up + (place + 1) * rank * outer);
    const filled = slice ? slice.rank : 0;
    if (slice) {
      downs.set(slice.down);
      for (let i = 0; i < slice.up.length; i++) ups[i] = slice.up[i]! * slice.scale;
    }
    downs.fill(0, filled * inner);
    ups.fill(0, filled * outer);
  }

  #place(piece: string, matrix: number): MatrixPlace {
    const place = this.#pieces.get(piece)?.[matrix];
    assert(place, `piece ${piece} adapts matrix ${matrix}`);
    return place;
  }
}

/** A cache line. */
const alignedFloats = 16;

/** What multiplies the narrow product of a row that has an adapter: both products are halved in the graph. */
export const adapterFactor = 4;

function outerOf({ rows }: AdaptedMatrix): number {
  return rows.reduce((sum, { count }) => sum + count, 0);
}
