import type { Attention } from './attention.ts';
import type { ConfigFields } from './config-fields.ts';
import type { FeedForward } from './feed-forward.ts';
import type { Weights } from './weights.ts';

export interface Layer {
  readonly attention: Attention;
  readonly feedForward: FeedForward;
}

/** A layer by its number, given the weights below its name. `earlier`: the layers before it. */
export type BuildLayer = (config: ConfigFields, weights: Weights, layer: number, earlier?: readonly Layer[]) => Layer;
