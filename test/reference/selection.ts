/** Choosing the largest of some scores; among equals the lower index comes first. */

export function bestFirst(scores: readonly number[]): number[] {
  return [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/** Distance between the last score chosen and the first one not; infinite when all are chosen. */
export function marginOf(scores: readonly number[], count: number): number {
  if (count >= scores.length) return Number.POSITIVE_INFINITY;
  const order = bestFirst(scores);
  return scores[order[count - 1]!]! - scores[order[count]!]!;
}
