/** Tensors of open files: each with the file that holds it, read by range. */
import type { FileHandle } from 'node:fs/promises';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { missingTensor } from './checkpoint.ts';
import type { StoredTensor } from './safetensors.ts';

interface PlacedTensor extends StoredTensor {
  readonly file: string;
  readonly handle: FileHandle;
}

export class PlacedTensors implements AsyncDisposable {
  readonly #handles: FileHandle[] = [];
  readonly #tensors = new Map<string, PlacedTensor>();

  /** Takes over the handle: it is closed with the others. */
  addFile(handle: FileHandle): void {
    this.#handles.push(handle);
  }

  /** A tensor of the same name is replaced. */
  add(tensor: StoredTensor, file: string, handle: FileHandle): void {
    this.#tensors.set(tensor.name, { ...tensor, file, handle });
  }

  get all(): Iterable<StoredTensor> {
    return this.#tensors.values();
  }

  get(name: string): StoredTensor | undefined {
    return this.#tensors.get(name);
  }

  /** As Checkpoint.read. */
  async read(name: string, offset: number, target: Uint8Array): Promise<void> {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw missingTensor(name);
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await tensor.handle
        .read(target, done, target.length - done, tensor.offset + offset + done)
        .catch((cause: unknown) => {
          throw asIoError(cause, `read ${tensor.file}`);
        });
      if (bytesRead === 0) {
        throw new TriremeError('TRUNCATED_FILE', `${tensor.file} became shorter while it was read`, {
          remedy: 'Let nobody write there, and try again',
        });
      }
      done += bytesRead;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }
}
