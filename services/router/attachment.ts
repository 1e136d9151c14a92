/**
 * Whether a leader's frames come over gRPC beside the bus: from the first sign that the bus loses or delays them until it has
 * shown that it does not.
 */

/** Frames in a row that the bus has to bring in time; */
const proofFrames = 16;
/** in time is a frame before which at most so many later ones came over gRPC. */
const maxLag = 4;

export class Attachment {
  #isOpen = false;
  #inTime = 0;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The bus is as good as gRPC again. */
  get isNeedless(): boolean {
    return this.#inTime >= proofFrames;
  }

  becomeOpen(): void {
    this.#isOpen = true;
    this.#inTime = 0;
  }

  becomeClosed(): void {
    this.#isOpen = false;
  }

  /** A frame has come over the bus. next: the number that no frame has reached so far, whichever way. */
  onBusFrame(sequence: number, next: number): void {
    if (sequence + maxLag >= next) this.#inTime++;
    else this.#inTime = 0;
  }
}
