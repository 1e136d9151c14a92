/** Cuts a byte stream into frames. Keeps a head at most: payloads are handed on as they arrive, whatever the reads were. */
import { type FrameHead, headBytes, readHead } from './mirror-frame.ts';

export interface FrameSink {
  /** Bytes of a frame's payload, `at` bytes into it. Not called for an empty payload. */
  onPayload(head: FrameHead, bytes: Uint8Array, at: number): void;
  /** The frame is complete. */
  onFrame(head: FrameHead): void;
}

export class FrameParser {
  readonly #sink: FrameSink;
  readonly #headBytes = new Uint8Array(headBytes);
  #headLength = 0;
  #head: FrameHead | undefined;
  #payloadLength = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Errors: RANK_FAILED for bytes that are no frames; what the sink throws. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) at += this.#head ? this.#takePayload(this.#head, bytes, at) : this.#takeHead(bytes, at);
  }

  #takeHead(bytes: Uint8Array, at: number): number {
    const taken = Math.min(headBytes - this.#headLength, bytes.length - at);
    this.#headBytes.set(bytes.subarray(at, at + taken), this.#headLength);
    this.#headLength += taken;
    if (this.#headLength < headBytes) return taken;
    this.#headLength = 0;
    this.#head = readHead(this.#headBytes);
    this.#payloadLength = 0;
    if (this.#head.payloadBytes === 0) this.#finish(this.#head);
    return taken;
  }

  #takePayload(head: FrameHead, bytes: Uint8Array, at: number): number {
    const taken = Math.min(head.payloadBytes - this.#payloadLength, bytes.length - at);
    this.#sink.onPayload(head, bytes.subarray(at, at + taken), this.#payloadLength);
    this.#payloadLength += taken;
    if (this.#payloadLength === head.payloadBytes) this.#finish(head);
    return taken;
  }

  #finish(head: FrameHead): void {
    this.#head = undefined;
    this.#sink.onFrame(head);
  }
}
