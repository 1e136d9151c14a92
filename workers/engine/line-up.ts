/** Sequences in order of age, oldest first: those that run, and those that wait. */
import { assert } from '#platform/assert.ts';
import type { Sequence } from './sequence.ts';

export class LineUp {
  readonly #sequences: Sequence[] = [];

  get length(): number {
    return this.#sequences.length;
  }

  get all(): readonly Sequence[] {
    return this.#sequences;
  }

  /** Newcomers go to the end at once; a sequence that returns finds its place from the front, where it is near. */
  add(sequence: Sequence): void {
    const youngest = this.#sequences.at(-1);
    if (!youngest || youngest.age < sequence.age) {
      this.#sequences.push(sequence);
      return;
    }
    const index = this.#sequences.findIndex((other) => other.age >= sequence.age);
    assert(this.#sequences[index]!.age !== sequence.age, `sequence ${sequence.age} is here already`);
    this.#sequences.splice(index, 0, sequence);
  }

  remove(sequence: Sequence): void {
    const index = this.#sequences.indexOf(sequence);
    assert(index >= 0, `sequence ${sequence.age} is not here`);
    this.#sequences.splice(index, 1);
  }
}
