/** Which arenas of the cache the layers of a model have. */
import { assert } from '#platform/assert.ts';
import { kvHeadRange, type Place } from '../../models/shard.ts';
import type { ModelSpec } from '../../models/spec.ts';
import type { AttendedArenas } from './attention-core.ts';
import type { ArenaShape } from './kv-cache.ts';

export interface LatentArenas {
  /** The latent and the rotated key, which are key and value of a position. */
  readonly latent: number;
  /** Keys of the layer's own indexer. */
  readonly index: number | undefined;
}

export class Arenas {
  readonly shapes: readonly ArenaShape[];
  readonly #grouped = new Map<number, AttendedArenas>();
  readonly #latent = new Map<number, LatentArenas>();

  constructor({ layers, rotary }: ModelSpec, place: Place) {
    const shapes: ArenaShape[] = [];
    const add = (shape: ArenaShape): number => shapes.push(shape) - 1;
    for (const [layer, { attention }] of layers.entries()) {
      if (attention.kind === 'grouped') {
        const shape = { heads: kvHeadRange(attention.kvHeads, place).count, dim: attention.headDim };
        this.#grouped.set(layer, { keys: add(shape), values: add(shape) });
      } else if (attention.kind === 'latent') {
        const latent = add({ heads: 1, dim: attention.latent + rotary.dims });
        const { indexer } = attention;
        this.#latent.set(layer, {
          latent,
          index: indexer?.kind === 'own' ? add({ heads: 1, dim: indexer.dim }) : undefined,
        });
      }
    }
    this.shapes = shapes;
  }

  grouped(layer: number): AttendedArenas {
    return found(this.#grouped.get(layer));
  }

  latent(layer: number): LatentArenas {
    return found(this.#latent.get(layer));
  }
}

function found<T>(arenas: T | undefined): T {
  assert(arenas, 'the layer has attention of this kind');
  return arenas;
}
