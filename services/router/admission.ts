/**
 * Who may go to a group now, who waits, who is turned away. Bounded queues, first come first served within each; a queue whose
 * first cannot go does not hold up the others.
 */
import { assert } from '#platform/assert.ts';

export interface AdmissionLimits {
  readonly maxActiveRequests: number;
  readonly maxQueuedRequests: number;
}

export interface Admittable {
  /** Which queue it waits in. Does not change while it waits. */
  readonly queue: string;
  /** When its waiting is over, if nothing has come of it. */
  readonly waitsUntilMs: number;
}

export class Admission<Item extends Admittable> {
  #activeCount = 0;
  #queuedCount = 0;
  readonly #queues = new Map<string, Item[]>();
  readonly #limits: AdmissionLimits;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  get activeCount(): number {
    return this.#activeCount;
  }

  get queuedCount(): number {
    return this.#queuedCount;
  }

  /** More wait than may; whoever came last has to be withdrawn. */
  get isOverfull(): boolean {
    return this.#queuedCount > this.#limits.maxQueuedRequests;
  }

  /** A newcomer waits, if only until the next dispatch. */
  enqueue(item: Item): void {
    this.#insert(item, 'last');
  }

  /** One that was active goes back to the head of its queue. */
  requeue(item: Item): void {
    this.release();
    this.#insert(item, 'first');
  }

  /**
   * Lets requests through while there are places. send: false when no group has room for this one, which ends the turn
   * of its queue. Whoever is sent is active until release().
   */
  dispatch(send: (item: Item) => boolean): void {
    for (const [name, queue] of this.#queues) {
      while (queue.length > 0 && this.#activeCount < this.#limits.maxActiveRequests && send(queue[0]!)) {
        queue.shift();
        this.#queuedCount--;
        this.#activeCount++;
      }
      if (queue.length === 0) this.#queues.delete(name);
    }
  }

  /** An active request has ended. */
  release(): void {
    assert(this.#activeCount > 0, 'a request ended that was not active');
    this.#activeCount--;
  }

  /** A queued request ends. */
  withdraw(item: Item): void {
    const queue = this.#queues.get(item.queue);
    const index = queue?.indexOf(item) ?? -1;
    assert(queue && index >= 0, 'a request left a queue that it was not in');
    queue.splice(index, 1);
    this.#queuedCount--;
    if (queue.length === 0) this.#queues.delete(item.queue);
  }

  /** Those that have waited too long; they still have to be withdrawn. */
  expired(nowMs: number): Item[] {
    const late: Item[] = [];
    for (const queue of this.#queues.values()) {
      for (const item of queue) if (nowMs >= item.waitsUntilMs) late.push(item);
    }
    return late;
  }

  #insert(item: Item, where: 'first' | 'last'): void {
    const queue = this.#queues.get(item.queue) ?? [];
    if (where === 'first') queue.unshift(item);
    else queue.push(item);
    this.#queues.set(item.queue, queue);
    this.#queuedCount++;
  }
}
