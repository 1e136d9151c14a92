/** One rule of a family got wrong: in the model's description, or in a line of the code that computes it. */
import type {
  AttentionSpec,
  ExpertsSpec,
  GroupedSpec,
  LatentSpec,
  ModelSpec,
  RoutingSpec,
} from '../../workers/models/spec.ts';

export interface Edit {
  /** What is in the file exactly once, and what stands there instead. */
  readonly from: string;
  readonly to: string;
}

export type Change =
  | { readonly kind: 'spec'; readonly apply: (spec: ModelSpec) => ModelSpec }
  /** `file` from the root of the repository. */
  | { readonly kind: 'source'; readonly file: string; readonly edits: readonly Edit[] };

export interface Mutation {
  readonly name: string;
  /** The goldens that must notice. */
  readonly goldens: readonly string[];
  readonly change: Change;
}

/** Finds a mutation again in another process: a name may stand for several, each for goldens of its own. */
export function mutationOf(all: readonly Mutation[], name: string, golden: string): Mutation {
  const found = all.find((mutation) => mutation.name === name && mutation.goldens.includes(golden));
  if (found) return found;
  throw new Error(`there is no mutation ${name} for ${golden}`);
}

export function ofSpec(name: string, goldens: readonly string[], apply: (spec: ModelSpec) => ModelSpec): Mutation {
  return { name, goldens, change: { kind: 'spec', apply } };
}

export function ofSource(name: string, goldens: readonly string[], file: string, ...edits: readonly Edit[]): Mutation {
  return { name, goldens, change: { kind: 'source', file, edits } };
}

export function ofAttention(
  name: string,
  goldens: readonly string[],
  apply: (attention: AttentionSpec, spec: ModelSpec) => AttentionSpec,
): Mutation {
  return ofSpec(name, goldens, (spec) => ({
    ...spec,
    layers: spec.layers.map((layer) => ({ ...layer, attention: apply(layer.attention, spec) })),
  }));
}

export function ofGrouped(
  name: string,
  goldens: readonly string[],
  apply: (spec: GroupedSpec) => Partial<GroupedSpec>,
) {
  return ofAttention(name, goldens, (attention) =>
    attention.kind === 'grouped' ? { ...attention, ...apply(attention) } : attention,
  );
}

export function ofLatent(
  name: string,
  goldens: readonly string[],
  apply: (attention: LatentSpec, spec: ModelSpec) => Partial<LatentSpec>,
) {
  return ofAttention(name, goldens, (attention, spec) =>
    attention.kind === 'latent' ? { ...attention, ...apply(attention, spec) } : attention,
  );
}

export function ofExperts(name: string, goldens: readonly string[], apply: (mlp: ExpertsSpec) => Partial<ExpertsSpec>) {
  return ofSpec(name, goldens, (spec) => ({
    ...spec,
    layers: spec.layers.map(({ attention, mlp }) => ({
      attention,
      mlp: mlp.kind === 'experts' ? { ...mlp, ...apply(mlp) } : mlp,
    })),
  }));
}

export function ofRouting(
  name: string,
  goldens: readonly string[],
  apply: (routing: RoutingSpec) => Partial<RoutingSpec>,
) {
  return ofExperts(name, goldens, ({ routing }) => ({ routing: { ...routing, ...apply(routing) } }));
}

export function ofRotary(
  name: string,
  goldens: readonly string[],
  apply: (rotary: ModelSpec['rotary'], spec: ModelSpec) => Partial<ModelSpec['rotary']>,
) {
  return ofSpec(name, goldens, (spec) => ({ ...spec, rotary: { ...spec.rotary, ...apply(spec.rotary, spec) } }));
}
