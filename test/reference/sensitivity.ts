/**
 * What float32 costs on one prompt: how far the logits move when every weight is changed by as much as float32 rounds. Where
 * rounding of this size is magnified (a delta net normalises an output that is almost zero), no float32 implementation can be
 * near the reference, and a comparison says nothing.
 */
import { keyOf, uniform } from '../goldens/recipe.ts';
import type { MadeGolden } from './make-golden.ts';
import { type ReferenceCheckpoint, ReferenceModel } from './reference-model.ts';
import type { Tensor } from './vectors.ts';

/** Half the distance between two float32 numbers, at most, in parts of either. */
const rounding = 2 ** -24;

/** Largest change of a logit of the prompt, in standard deviations. */
export function sensitivityOf({ config, tensors }: ReferenceCheckpoint, golden: MadeGolden): number {
  const changed = new Map([...tensors].map(([name, tensor]) => [name, jolted(name, tensor)]));
  const model = new ReferenceModel({ config, tensors: changed });
  const changes = golden.prompt.map((token, position) => {
    const expected = golden.logits[position]!;
    return model
      .at(position, token)
      .logits.reduce((most, logit, i) => Math.max(most, Math.abs(logit - expected[i]!)), 0);
  });
  return Math.max(...changes) / golden.logits_std;
}

function jolted(name: string, { shape, values }: Tensor): Tensor {
  const key = keyOf(1, name);
  return { shape, values: values.map((value, i) => value * (1 + rounding * (2 * uniform(key, i) - 1))) };
}
