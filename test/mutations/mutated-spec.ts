/** Stands between the reader of a config and everybody who asks for a model's description. */
import type { ModelSpec } from '../../workers/models/spec.ts';
import { mutationOf } from './mutation.ts';
import { control, mutations } from './mutations.ts';

export function mutated(spec: ModelSpec): ModelSpec {
  const { TRIREME_MUTATION: name = '', TRIREME_GOLDEN: golden = '' } = process.env;
  const { change } = mutationOf([control, ...mutations], name, golden);
  return change.kind === 'spec' ? change.apply(spec) : spec;
}
