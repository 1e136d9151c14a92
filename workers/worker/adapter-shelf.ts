/**
 * Which adapters a group has in memory: a fixed number of places, filled when a request names an adapter, and given to another
 * when nobody uses it, the one least recently used first. Pure; who fills a place is handed in.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';

interface Shelved {
  readonly name: string;
  readonly place: number;
  /** Requests that run with it or wait for it. */
  users: number;
  readonly loaded: Promise<void>;
}

export class AdapterShelf {
  readonly #places: number;
  readonly #load: (place: number, name: string) => Promise<void>;
  /** Least recently named first. */
  readonly #shelved = new Map<string, Shelved>();

  /** `load` fills a place on every rank of the group; what was there before is void. */
  constructor(places: number, load: (place: number, name: string) => Promise<void>) {
    this.#places = places;
    this.#load = load;
  }

  /** Names of adapters that are in memory or on their way there. */
  get names(): readonly string[] {
    return [...this.#shelved.keys()];
  }

  /**
   * The place of an adapter once it is there; release() it as often as this resolves. Errors: NO_ROOM while every place is in
   * use; those of loading, after which the next request tries again.
   */
  async acquire(name: string): Promise<number> {
    const shelved = this.#shelved.get(name) ?? this.#shelve(name);
    this.#shelved.delete(name);
    this.#shelved.set(name, shelved);
    shelved.users++;
    try {
      await shelved.loaded;
      return shelved.place;
    } catch (error) {
      shelved.users--;
      if (this.#shelved.get(name) === shelved) this.#shelved.delete(name);
      throw error;
    }
  }

  release(name: string): void {
    const shelved = this.#shelved.get(name);
    assert(shelved && shelved.users > 0, `adapter ${name} is released by who has it`);
    shelved.users--;
  }

  #shelve(name: string): Shelved {
    const place = this.#freePlace();
    const loaded = this.#load(place, name);
    const shelved: Shelved = { name, place, users: 0, loaded };
    this.#shelved.set(name, shelved);
    return shelved;
  }

  #freePlace(): number {
    const taken = new Set([...this.#shelved.values()].map(({ place }) => place));
    for (let place = 0; place < this.#places; place++) if (!taken.has(place)) return place;
    for (const { name, place, users } of this.#shelved.values()) {
      if (users > 0) continue;
      this.#shelved.delete(name);
      return place;
    }
    throw new TriremeError('NO_ROOM', `requests use other adapters in all ${this.#places} places`);
  }
}
