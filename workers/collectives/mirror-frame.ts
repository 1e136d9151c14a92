/**
 * What travels between two processes of a group once they have joined. Every frame is a head of 24 bytes and a payload:
 *
 *   part    a stretch of a rank's part; the one that completes the slice makes the generation visible
 *   abort   the group is over, with the reason as payload
 *   beat    nothing; says that the process is alive
 *   leave   the sender's ranks are done and send no more
 */
import { TriremeError } from '#platform/errors.ts';

export const headBytes = 24;
/** Longest payload; longer slices travel in several frames. */
export const payloadBytesMax = 256 << 10;
/** Longest reason of an abort; longer ones are cut. */
export const reasonBytesMax = 512;

const kinds = ['part', 'abort', 'beat', 'leave'] as const;
export type FrameKind = (typeof kinds)[number];

export interface FrameHead {
  readonly kind: FrameKind;
  readonly payloadBytes: number;
  /** The rest is for parts: whose, which generation, bytes of the part from this slice on, place of the payload. */
  readonly rank: number;
  readonly generation: number;
  readonly remainingBytes: number;
  readonly offset: number;
}

/** A head without meaning for parts. */
export function plainHead(kind: Exclude<FrameKind, 'part'>, payloadBytes = 0): FrameHead {
  return { kind, payloadBytes, rank: 0, generation: 0, remainingBytes: 0, offset: 0 };
}

export function writeHead(head: FrameHead, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, headBytes);
  view.setUint32(0, kinds.indexOf(head.kind), true);
  view.setUint32(4, head.payloadBytes, true);
  view.setUint32(8, head.rank, true);
  view.setInt32(12, head.generation, true);
  view.setUint32(16, head.remainingBytes, true);
  view.setUint32(20, head.offset, true);
}

/** Errors: RANK_FAILED when this is no head: the other side speaks something else. */
export function readHead(bytes: Uint8Array): FrameHead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, headBytes);
  const kind = kinds[view.getUint32(0, true)];
  const payloadBytes = view.getUint32(4, true);
  const limit = kind === 'part' ? payloadBytesMax : kind === 'abort' ? reasonBytesMax : 0;
  if (!kind || payloadBytes > limit) throw new TriremeError('RANK_FAILED', 'a frame that makes no sense');
  return {
    kind,
    payloadBytes,
    rank: view.getUint32(8, true),
    generation: view.getInt32(12, true),
    remainingBytes: view.getUint32(16, true),
    offset: view.getUint32(20, true),
  };
}
