/** The group whose sequences fill the smallest share of what it runs together; of equals, the one least recently picked. */
import type { GroupLoad, PickRequest, Policy } from '../policy.ts';

export class LeastLoaded implements Policy {
  /** Least recently picked first. */
  #order: string[] = [];

  pick<Group extends GroupLoad>(_request: PickRequest, fleet: readonly Group[]): Group | undefined {
    let best: Group | undefined;
    for (const group of fleet) {
      if (!best || this.#comesBefore(group, best)) best = group;
    }
    if (best) this.#remember(best.group, fleet);
    return best;
  }

  #comesBefore(a: GroupLoad, b: GroupLoad): boolean {
    const difference = shareOf(a) - shareOf(b);
    return difference === 0 ? this.#order.indexOf(a.group) < this.#order.indexOf(b.group) : difference < 0;
  }

  /** Bounded by the groups there are: the others are forgotten. */
  #remember(picked: string, fleet: readonly GroupLoad[]): void {
    const known = new Set(fleet.map(({ group }) => group));
    this.#order = this.#order.filter((group) => group !== picked && known.has(group));
    this.#order.push(picked);
  }
}

function shareOf({ sequences, maxSequences }: GroupLoad): number {
  return sequences / Math.max(1, maxSequences);
}
