/** What the readers of a checkpoint share. */
import type { Checkpoint } from '../checkpoint.ts';
import type { HeldTensors } from './held-tensors.ts';
import type { StoredQuantisation } from './quantisation-config.ts';
import type { ReadBuffer } from './readable-tensor.ts';

export interface StoredSource {
  readonly checkpoint: Checkpoint;
  readonly quantisation: StoredQuantisation;
  readonly buffer: ReadBuffer;
  readonly held: HeldTensors;
}
