/** One group after the other, by name, for each model by itself. */
import type { GroupLoad, PickRequest, Policy } from '../policy.ts';

export class RoundRobin implements Policy {
  /** Model -> the group that was picked last. */
  readonly #last = new Map<string, string>();

  pick<Group extends GroupLoad>({ model }: PickRequest, fleet: readonly Group[]): Group | undefined {
    const sorted = [...fleet].sort((a, b) => (a.group < b.group ? -1 : 1));
    const last = this.#last.get(model);
    const picked = sorted.find(({ group }) => last === undefined || group > last) ?? sorted[0];
    if (picked) this.#last.set(model, picked.group);
    return picked;
  }
}
