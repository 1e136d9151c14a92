/**
 * One connection to another process of the group: sends parts of the ranks here, puts the parts of the ranks there into
 * the team's memory. When it breaks or falls silent before the other side has taken leave, the team is aborted.
 *
 * What waits to be sent is bounded by the protocol: a rank cannot be two generations ahead of what the other process has
 * received, so at most two slices a rank are under way, and they are sent from where they lie.
 */
import type { Socket } from 'node:net';
import { TriremeError } from '#platform/errors.ts';
import { FrameParser, type FrameSink } from './frame-parser.ts';
import { type FrameHead, headBytes, payloadBytesMax, plainHead, reasonBytesMax, writeHead } from './mirror-frame.ts';
import type { TeamMemory } from './team-memory.ts';

/** A process says that it is alive this often, and is given up after so many intervals without a byte from it. */
const beatMs = 1000;
const silentBeatsMax = 5;
/** Shorter frames are copied together with their head into one write. */
const copyBytesMax = 64 << 10;
/** How long the last bytes may take to leave when the link ends. */
const lingerMs = 1000;

export class MirrorLink implements FrameSink {
  /** The ranks on the other side. */
  readonly ranks: readonly number[];
  readonly #socket: Socket;
  readonly #memory: TeamMemory;
  readonly #parser = new FrameParser(this);
  readonly #reason: number[] = [];
  readonly #beat: NodeJS.Timeout;
  readonly #closed: Promise<void>;
  #silentBeats = 0;
  /** Nothing that happens to the socket means anything any more. */
  #isOver = false;

  /** `socket` has joined: both sides have proven the secret. */
  constructor(socket: Socket, ranks: readonly number[], memory: TeamMemory) {
    this.#socket = socket;
    this.ranks = ranks;
    this.#memory = memory;
    this.#closed = new Promise((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve());
    });
    socket.setNoDelay(true);
    socket.on('error', (error) => this.#lose(error.message));
    socket.on('close', () => this.#lose('it closed the connection'));
    socket.on('data', (bytes) => this.#receive(bytes));
    this.#beat = setInterval(() => this.#onBeat(), beatMs);
    if (socket.destroyed) this.#lose('it closed the connection');
  }

  /** Sends what a rank here has put in place for a generation. */
  sendPart(rank: number, generation: number): void {
    const remainingBytes = this.#memory.remainingBytes(rank, generation);
    const slice = this.#memory.slice(rank, generation);
    const length = Math.min(remainingBytes, slice.length);
    for (let offset = 0; offset === 0 || offset < length; offset += payloadBytesMax) {
      const payload = slice.subarray(offset, Math.min(length, offset + payloadBytesMax));
      const payloadBytes = payload.length;
      this.#send({ kind: 'part', payloadBytes, rank, generation, remainingBytes, offset }, payload);
    }
  }

  /** Tells the other side that the group is over, and ends. */
  abort(reason: string): Promise<void> {
    const text = Buffer.from(reason).subarray(0, reasonBytesMax);
    return this.#end(plainHead('abort', text.length), text);
  }

  /** Tells the other side that the ranks here are done, and ends. */
  leave(): Promise<void> {
    return this.#end(plainHead('leave'));
  }

  onPayload(head: FrameHead, bytes: Uint8Array, at: number): void {
    if (head.kind === 'abort') this.#reason.push(...bytes);
    else this.#memory.slice(head.rank, this.#checkPart(head)).set(bytes, head.offset + at);
  }

  onFrame(head: FrameHead): void {
    if (head.kind === 'abort') return this.#break(Buffer.from(this.#reason).toString());
    // Its ranks are done, so the ranks here have been told to stop as well, or will have been by rank 0's process.
    if (head.kind === 'leave') return this.#finish();
    if (head.kind === 'beat') return;
    const generation = this.#checkPart(head);
    const sliceLength = Math.min(head.remainingBytes, this.#memory.sliceBytes);
    if (head.offset + head.payloadBytes < sliceLength) return;
    this.#memory.publish(head.rank, generation, head.remainingBytes);
  }

  get #name(): string {
    return `the process of rank ${this.ranks.join(', ')}`;
  }

  /** The generation of a part that this process may send now. */
  #checkPart({ rank, generation, offset, payloadBytes }: FrameHead): number {
    const isNext = this.ranks.includes(rank) && generation === ((this.#memory.generation(rank) + 1) | 0);
    if (isNext && offset + payloadBytes <= this.#memory.sliceBytes) return generation;
    throw new TriremeError('RANK_FAILED', `a part of rank ${rank}, generation ${generation}, out of turn`);
  }

  #send(head: FrameHead, payload: Uint8Array): void {
    if (this.#isOver) return;
    if (payload.length <= copyBytesMax) {
      const frame = Buffer.allocUnsafe(headBytes + payload.length);
      writeHead(head, frame);
      frame.set(payload, headBytes);
      this.#socket.write(frame);
      return;
    }
    const first = Buffer.allocUnsafe(headBytes);
    writeHead(head, first);
    this.#socket.cork();
    this.#socket.write(first);
    this.#socket.write(payload);
    this.#socket.uncork();
  }

  #receive(bytes: Uint8Array): void {
    this.#silentBeats = 0;
    if (this.#isOver) return;
    try {
      this.#parser.push(bytes);
    } catch (error) {
      this.#lose(TriremeError.from(error).message);
    }
  }

  #onBeat(): void {
    if (this.#silentBeats++ >= silentBeatsMax) this.#lose(`no sign of life for ${silentBeatsMax * beatMs} ms`);
    else this.#send(plainHead('beat'), new Uint8Array(0));
  }

  #lose(why: string): void {
    if (!this.#isOver) this.#break(`lost ${this.#name}: ${why}`);
  }

  #break(reason: string): void {
    this.#finish();
    this.#memory.abort(reason);
  }

  #finish(): void {
    this.#isOver = true;
    clearInterval(this.#beat);
    this.#socket.destroy();
  }

  async #end(head: FrameHead, payload: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (this.#isOver) return this.#closed;
    this.#send(head, payload);
    this.#isOver = true;
    clearInterval(this.#beat);
    this.#socket.end();
    const linger = setTimeout(() => this.#socket.destroy(), lingerMs);
    await this.#closed;
    clearTimeout(linger);
  }
}
