/** Which experts a token goes to, and what multiplies their outputs. */
import { bestFirst, marginOf } from './selection.ts';
import { sigmoid, softmax, type Vector } from './vectors.ts';

export interface RoutingSettings {
  /** softmax-of-chosen: the logits are compared, and the softmax is over the chosen ones only. */
  readonly scores: 'sigmoid' | 'softmax' | 'softmax-of-chosen';
  readonly chosen: number;
  /** Only experts of the best groups may be chosen. A group is as good as its best expert, or as the sum of its best two. */
  readonly groups?: { readonly count: number; readonly kept: number; readonly judgedBy: 'best' | 'best two' };
  /** What the chosen scores are divided by, given their sum; absent: nothing. */
  readonly divisor?: (sum: number) => number;
  readonly scaling: number;
}

export interface Routing {
  readonly experts: readonly number[];
  readonly weights: readonly number[];
  readonly margin: number;
}

/** `bias` is added for choosing only. */
export function route(settings: RoutingSettings, logits: Vector, bias?: Vector): Routing {
  const { chosen, divisor, scaling } = settings;
  const scores = scoresOf(settings, logits);
  // A softmax keeps the order, and the distances of small scores are better seen before it.
  const compared = [...(settings.scores !== 'sigmoid' && !bias && !settings.groups ? logits : scores)];
  const merits = compared.map((score, expert) => score + (bias?.[expert] ?? 0));
  const { open, margin } = openExperts(settings, merits);
  const candidates = merits.map((merit, expert) => (open(expert) ? merit : Number.NEGATIVE_INFINITY));
  const experts = bestFirst(candidates).slice(0, chosen);
  const picked =
    settings.scores === 'softmax-of-chosen' ? softmax(logits.filter((_, e) => experts.includes(e))) : undefined;
  const inOrder = [...experts].sort((a, b) => a - b);
  const raw = experts.map((expert) => (picked ? picked[inOrder.indexOf(expert)]! : scores[expert]!));
  const sum = raw.reduce((a, b) => a + b, 0);
  const weights = raw.map((score) => (divisor ? score / divisor(sum) : score) * scaling);
  const byWeight = bestFirst(weights);
  return {
    experts: byWeight.map((i) => experts[i]!),
    weights: byWeight.map((i) => weights[i]!),
    margin: Math.min(margin, marginOf(candidates, chosen)),
  };
}

function scoresOf({ scores }: RoutingSettings, logits: Vector): Vector {
  if (scores === 'sigmoid') return logits.map(sigmoid);
  return scores === 'softmax' ? softmax(logits) : logits;
}

/** Which experts may be chosen, and how narrowly their groups were. */
function openExperts(
  { groups }: RoutingSettings,
  merits: readonly number[],
): { open(e: number): boolean; margin: number } {
  if (!groups) return { open: () => true, margin: Number.POSITIVE_INFINITY };
  const size = merits.length / groups.count;
  const judged = Array.from({ length: groups.count }, (_, group) => {
    const best = merits.slice(group * size, (group + 1) * size).sort((a, b) => b - a);
    return groups.judgedBy === 'best' ? best[0]! : best[0]! + best[1]!;
  });
  const kept = bestFirst(judged).slice(0, groups.kept);
  return { open: (expert) => kept.includes(Math.floor(expert / size)), margin: marginOf(judged, groups.kept) };
}
