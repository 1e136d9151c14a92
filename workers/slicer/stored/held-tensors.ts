/**
 * Whole stored tensors in memory, those of one matrix at a time: formats that store a matrix across would otherwise read a few bytes
 * here and there for every row.
 */
import type { Checkpoint } from '../checkpoint.ts';
import type { StoredTensor } from '../safetensors.ts';
import { ReadBuffer } from './readable-tensor.ts';

export class HeldTensors {
  readonly #checkpoint: Checkpoint;
  readonly #buffers: ReadBuffer[] = [];
  #names = '';
  #held: readonly Uint8Array<ArrayBuffer>[] = [];

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  /** Bytes of these tensors, valid until others are asked for. Errors: those of Checkpoint.read. */
  async hold(tensors: readonly StoredTensor[]): Promise<readonly Uint8Array<ArrayBuffer>[]> {
    const names = tensors.map(({ name }) => name).join();
    if (names === this.#names) return this.#held;
    this.#names = '';
    const held: Uint8Array<ArrayBuffer>[] = [];
    for (const [i, { name, bytes }] of tensors.entries()) {
      const buffer = this.#buffers[i] ?? new ReadBuffer();
      this.#buffers[i] = buffer;
      const target = new Uint8Array(buffer.take(bytes), 0, bytes);
      await this.#checkpoint.read(name, 0, target);
      held.push(target);
    }
    this.#held = held;
    this.#names = names;
    return held;
  }
}
