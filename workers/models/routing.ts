/** Which experts a row goes to, and how much each counts. */
import type { ExpertsSpec } from './spec.ts';

/**
 * Chooses the `spec.chosen` best experts of each row. `scores` are logits [rows, experts]; writes [rows, chosen] into
 * both arrays of `choice`: experts of a row ascending by index (equal scores: the lower index wins), and weights as they
 * multiply the experts' outputs.
 */
export function chooseExperts(
  scores: Float32Array,
  rows: number,
  spec: ExpertsSpec,
  choice: { experts: Int32Array; weights: Float32Array },
): void {
  for (let row = 0; row < rows; row++) {
    const scoresAt = row * spec.experts;
    const choiceAt = row * spec.chosen;
    chooseBest(scores, scoresAt, spec, choice.experts, choiceAt);
    const best = scores[scoresAt + choice.experts[choiceAt]!]!;
    sortAscending(choice.experts, choiceAt, spec.chosen);
    weigh(scores, scoresAt, spec, best, choice, choiceAt);
  }
}

/** Leaves the best experts in order of falling score. */
function chooseBest(scores: Float32Array, scoresAt: number, spec: ExpertsSpec, experts: Int32Array, at: number): void {
  for (let expert = 0; expert < spec.experts; expert++) {
    const score = scores[scoresAt + expert]!;
    let place = Math.min(expert, spec.chosen);
    while (place > 0 && score > scores[scoresAt + experts[at + place - 1]!]!) {
      if (place < spec.chosen) experts[at + place] = experts[at + place - 1]!;
      place--;
    }
    if (place < spec.chosen) experts[at + place] = expert;
  }
}

function sortAscending(experts: Int32Array, at: number, count: number): void {
  for (let i = 1; i < count; i++) {
    const expert = experts[at + i]!;
    let place = i;
    while (place > 0 && experts[at + place - 1]! > expert) {
      experts[at + place] = experts[at + place - 1]!;
      place--;
    }
    experts[at + place] = expert;
  }
}

/** Softmax over all experts, or over the chosen ones where they are normalised (which is the same as dividing later). */
function weigh(
  scores: Float32Array,
  scoresAt: number,
  spec: ExpertsSpec,
  best: number,
  choice: { experts: Int32Array; weights: Float32Array },
  at: number,
): void {
  let sum = 0;
  const terms = spec.routing.normalise ? spec.chosen : spec.experts;
  for (let i = 0; i < terms; i++) {
    const expert = spec.routing.normalise ? choice.experts[at + i]! : i;
    sum += Math.exp(scores[scoresAt + expert]! - best);
  }
  for (let i = 0; i < spec.chosen; i++) {
    choice.weights[at + i] = Math.exp(scores[scoresAt + choice.experts[at + i]!]! - best) / sum;
  }
}
