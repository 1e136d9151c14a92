/** The adapters that a rank's pieces add: views of their memory, and for each row of a step which adapter it has. */
import { type AdapterMemory, adapterFactor } from '../adapters/adapter-memory.ts';
import { type ShardManifest, withAdapters } from '../models/manifest.ts';
import type { Runtime, Tensor } from '../runtime/runtime.ts';
import type { ChunkRows } from './attention/kv-cache.ts';
import type { Bound, StepTensor } from './piece-io.ts';

export class RankAdapters {
  readonly #runtime: Runtime;
  readonly #memory: AdapterMemory;
  readonly #shard: ShardManifest;
  /** [rows, places in use * rank] */
  readonly #factors: Float32Array;
  readonly #factorTensors = new Map<string, Tensor>();
  /** Places that this step looks at: those up to the last in use, at least one. */
  #places = 1;

  constructor(runtime: Runtime, shard: ShardManifest, memory: AdapterMemory, maxRows: number) {
    this.#runtime = runtime;
    this.#shard = shard;
    this.#memory = memory;
    const { places, rank } = memory.capacity;
    this.#factors = new Float32Array(Math.max(64, maxRows * places * rank));
  }

  /** The piece to open for `piece`, and its inputs besides. */
  of(piece: string): { readonly name: string; readonly inputs: readonly Bound[] } {
    const name = withAdapters(piece);
    const matrices = this.#shard.adapted[name];
    if (!matrices) return { name: piece, inputs: [] };
    const factors: StepTensor = { first: (n) => this.#factorsOf(n) };
    const inputs = matrices.flatMap((_, i): Bound[] => [
      [`adapter_down_${i}`, this.#view(name, i, 'down')],
      [`adapter_up_${i}`, this.#view(name, i, 'up')],
    ]);
    return { name, inputs: [['adapter_factors', factors], ...inputs] };
  }

  /** Sets the rows' factors. True when other views than in the step before are to be bound. */
  beginStep(chunks: readonly ChunkRows[]): boolean {
    const { rank } = this.#memory.capacity;
    const before = this.#places;
    this.#places = chunks.reduce((most, { adapter = -1 }) => Math.max(most, adapter + 1), 1);
    const width = this.#places * rank;
    for (const { firstRow, rows, adapter } of chunks) {
      this.#factors.fill(0, firstRow * width, (firstRow + rows) * width);
      if (adapter === undefined) continue;
      for (let row = firstRow; row < firstRow + rows; row++) {
        const start = row * width + adapter * rank;
        this.#factors.fill(adapterFactor, start, start + rank);
      }
    }
    return this.#places !== before;
  }

  #view(piece: string, matrix: number, side: 'down' | 'up'): StepTensor {
    const known: Tensor[] = [];
    return {
      first: () => {
        const tensor = known[this.#places];
        if (tensor) return tensor;
        const { data, dims } = this.#memory.views(piece, matrix, this.#places)[side];
        const created = this.#runtime.tensor(data, dims);
        known[this.#places] = created;
        return created;
      },
    };
  }

  #factorsOf(n: number): Tensor {
    const key = `${n}:${this.#places}`;
    const known = this.#factorTensors.get(key);
    if (known) return known;
    const width = this.#places * this.#memory.capacity.rank;
    const tensor = this.#runtime.tensor(this.#factors.subarray(0, n * width), [n, width]);
    this.#factorTensors.set(key, tensor);
    return tensor;
  }
}
