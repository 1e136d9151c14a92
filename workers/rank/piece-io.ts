/** Inputs and outputs of pieces that follow the number of rows in a step: bound once for it, and used by every layer. */
import type { Io, Runtime, Tensor } from '../runtime/runtime.ts';

/** What a step of n rows takes. */
export interface StepTensor {
  first(n: number): Tensor;
}

/** A name in a piece, and the buffer whose first rows it takes; undefined: bound by whoever runs the piece. */
export type Bound = readonly [name: string, rows: StepTensor | undefined];

interface BoundIo {
  readonly io: Io;
  readonly inputs: readonly Bound[];
  readonly outputs: readonly Bound[];
}

export class PieceIo {
  readonly #runtime: Runtime;
  readonly #known: BoundIo[] = [];

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** The same object for the same names and buffers: layers share it. */
  create(inputs: readonly Bound[], outputs: readonly Bound[]): Io {
    const known = this.#known.find((bound) => isSame(bound.inputs, inputs) && isSame(bound.outputs, outputs));
    if (known) return known.io;
    const names = (bounds: readonly Bound[]): readonly string[] => bounds.map(([name]) => name);
    const io = this.#runtime.io(names(inputs), names(outputs));
    this.#known.push({ io, inputs, outputs });
    return io;
  }

  /** Every buffer's first n rows. */
  bindRows(n: number): void {
    for (const { io, inputs, outputs } of this.#known) {
      for (const [i, [, rows]] of inputs.entries()) if (rows) io.input(i, rows.first(n));
      for (const [i, [, rows]] of outputs.entries()) if (rows) io.output(i, rows.first(n));
    }
  }
}

function isSame(a: readonly Bound[], b: readonly Bound[]): boolean {
  return a.length === b.length && a.every(([name, rows], i) => name === b[i]![0] && rows === b[i]![1]);
}
