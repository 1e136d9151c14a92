/**
 * Who may go to a group now, who waits, who is turned away. A bounded queue, first come first served within a model; a
 * model without a group does not hold up the others.
 */
import { assert } from '#platform/assert.ts';

export interface AdmissionLimits {
  readonly maxActiveRequests: number;
  readonly maxQueuedRequests: number;
  readonly maxQueueWait: number;
}

export interface Admittable {
  readonly model: string;
  /** When it began to wait; kept when a group turns it away and it waits on. */
  readonly arrivedMs: number;
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
   * Lets requests through while there are places. send: false when no group of the model has room, which ends the turn
   * of that model. Whoever is sent is active until release().
   */
  dispatch(send: (item: Item) => boolean): void {
    for (const [model, queue] of this.#queues) {
      while (queue.length > 0 && this.#activeCount < this.#limits.maxActiveRequests && send(queue[0]!)) {
        queue.shift();
        this.#queuedCount--;
        this.#activeCount++;
      }
      if (queue.length === 0) this.#queues.delete(model);
    }
  }

  /** An active request has ended. */
  release(): void {
    assert(this.#activeCount > 0, 'a request ended that was not active');
    this.#activeCount--;
  }

  /** A queued request ends. */
  withdraw(item: Item): void {
    const queue = this.#queues.get(item.model);
    const index = queue?.indexOf(item) ?? -1;
    assert(queue && index >= 0, 'a request left a queue that it was not in');
    queue.splice(index, 1);
    this.#queuedCount--;
    if (queue.length === 0) this.#queues.delete(item.model);
  }

  /** Those that have waited too long; they still have to be withdrawn. */
  expired(nowMs: number): Item[] {
    const late: Item[] = [];
    for (const queue of this.#queues.values()) {
      for (const item of queue) if (nowMs - item.arrivedMs >= this.#limits.maxQueueWait) late.push(item);
    }
    return late;
  }

  #insert(item: Item, where: 'first' | 'last'): void {
    const queue = this.#queues.get(item.model) ?? [];
    if (where === 'first') queue.unshift(item);
    else queue.push(item);
    this.#queues.set(item.model, queue);
    this.#queuedCount++;
  }
}
