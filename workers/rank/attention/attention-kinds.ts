/** The kinds of attention that a model has, and its layers by kind. */
import type { AttentionSpec } from '../../models/spec.ts';
import type { AttentionKind, KindOptions } from './attention-kind.ts';
import { DeltaAttention } from './delta-attention.ts';
import { GroupedAttention } from './grouped-attention.ts';
import { LatentAttention } from './latent-attention.ts';

export type AttentionKinds = ReadonlyMap<AttentionSpec['kind'], AttentionKind>;

export function createAttentionKinds(options: KindOptions): AttentionKinds {
  const kinds = new Map<AttentionSpec['kind'], AttentionKind>();
  for (const { attention } of options.spec.layers) {
    if (!kinds.has(attention.kind)) kinds.set(attention.kind, createKind(options, attention));
  }
  return kinds;
}

function createKind(options: KindOptions, spec: AttentionSpec): AttentionKind {
  switch (spec.kind) {
    case 'grouped':
      return new GroupedAttention(options, spec);
    case 'latent':
      return new LatentAttention(options, spec);
    case 'delta':
      return new DeltaAttention(options, spec);
  }
}
