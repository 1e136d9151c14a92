/**
 * Runs the same sequences in many ways and posts every position whose logits have other bits than when its sequence ran alone
 * in one chunk; and a digest of those, to set groups of other transports beside this one.
 */
import { createHash } from 'node:crypto';
import type { SequenceChunk } from '../../workers/engine/step.ts';
import type { RankContext } from '../../workers/rank/rank-context.ts';
import type { RunLeader } from '../../workers/rank/rank-messages.ts';

export interface BitsJob {
  readonly vocabularySize: number;
}

export interface BitsResult {
  readonly departures: readonly string[];
  /** Positions that were compared. */
  readonly compared: number;
  readonly digest: string;
}

/** What the job needs of the group. */
export const bitsServing = { kvBlocks: 32 * 7, maxSequences: 32, stepTokens: 256, maxWaiting: 0, adapters: undefined };

const sequenceCount = 32;
const decodeSteps = 4;
const batchSizes = [1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 31, 32];
const chunkings: readonly (readonly number[])[] = [[1], [2], [3, 1], [5, 16, 100], [64], [1, 100], [63, 2, 100], [17]];
/** Departures that are posted; further ones are counted only. */
const postedMax = 20;

class BitComparison {
  readonly #context: RankContext;
  readonly #sequences: readonly Int32Array[];
  /** By sequence and position: the logits when it ran alone, whole. */
  readonly #reference: readonly (readonly Float32Array[])[];
  readonly #departures: string[] = [];
  #step = 0;
  #compared = 0;

  constructor(context: RankContext, vocabularySize: number) {
    this.#context = context;
    this.#sequences = Array.from({ length: sequenceCount }, (_, i) => randomTokens(i, 33 + 2 * i, vocabularySize));
    this.#reference = this.#sequences.map((sequence) => this.#run([chunk(0, 0, sequence)], [0])[0]!);
  }

  run(): BitsResult {
    for (const sizes of chunkings) for (const index of [0, 9, 31]) this.#inChunks(index, sizes);
    for (const size of batchSizes) this.#inBatch(size);
    this.#prefillBesideDecode();
    const copied = this.#context.runner.canCopy ? [1, 16, 29] : [];
    for (const positions of copied) this.#afterCopy(positions);
    const hash = createHash('sha256');
    for (const rows of this.#reference) for (const row of rows) hash.update(row);
    return { departures: this.#departures, compared: this.#compared, digest: hash.digest('hex') };
  }

  #inChunks(index: number, sizes: readonly number[]): void {
    const sequence = this.#sequences[index]!;
    const slot = 3;
    let first = 0;
    for (let turn = 0; first < sequence.length; turn++) {
      const end = Math.min(sequence.length, first + sizes[turn % sizes.length]!);
      const release = end === sequence.length ? [slot] : [];
      const [rows] = this.#run([chunk(slot, first, sequence.subarray(first, end))], release);
      for (const [i, row] of rows!.entries()) this.#compare(index, first + i, row, `chunks of ${sizes}`);
      first = end;
    }
  }

  /** The first `size` sequences decode their last tokens together. */
  #inBatch(size: number): void {
    const sequences = this.#sequences.slice(0, size);
    for (const [slot, sequence] of sequences.entries()) {
      this.#run([chunk(slot, 0, sequence.subarray(0, sequence.length - decodeSteps), 'none')], []);
    }
    for (let step = 0; step < decodeSteps; step++) {
      const at = (sequence: Int32Array): number => sequence.length - decodeSteps + step;
      const chunks = sequences.map((sequence, slot) =>
        chunk(slot, at(sequence), sequence.subarray(at(sequence), at(sequence) + 1)),
      );
      const release = step === decodeSteps - 1 ? sequences.map((_, slot) => slot) : [];
      for (const [index, rows] of this.#run(chunks, release).entries()) {
        this.#compare(index, at(sequences[index]!), rows[0]!, `a batch of ${size}`);
      }
    }
  }

  /** A prompt enters in two chunks while others decode, before it and behind it. */
  #prefillBesideDecode(): void {
    const [first, second, prompt] = [4, 5, 31].map((index) => this.#sequences[index]!) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
    this.#run([chunk(0, 0, first.subarray(0, 30), 'none'), chunk(2, 0, second.subarray(0, 30), 'none')], []);
    for (const [turn, from, to] of [
      [0, 0, 50],
      [1, 50, prompt.length],
    ] as const) {
      const position = 30 + turn;
      const [before, rows, behind] = this.#run(
        [
          chunk(0, position, first.subarray(position, position + 1)),
          chunk(1, from, prompt.subarray(from, to)),
          chunk(2, position, second.subarray(position, position + 1)),
        ],
        turn === 1 ? [0, 1, 2] : [],
      );
      this.#compare(4, position, before![0]!, 'decoding beside a prompt');
      for (const [i, row] of rows!.entries()) this.#compare(31, from + i, row, 'a prompt beside decoding');
      this.#compare(5, position, behind![0]!, 'decoding behind a prompt');
    }
  }

  /** Goes on from keys and values that were computed in another slot. */
  #afterCopy(positions: number): void {
    const index = 20;
    const sequence = this.#sequences[index]!;
    this.#run([chunk(6, 0, sequence.subarray(0, 30), 'none')], []);
    const { runner } = this.#context;
    runner.run({ step: ++this.#step, release: [], copies: [{ from: 6, to: 2, positions }], chunks: [] });
    const [rows] = this.#run([chunk(2, positions, sequence.subarray(positions))], [2, 6]);
    for (const [i, row] of rows!.entries())
      this.#compare(index, positions + i, row, `a copy of ${positions} positions`);
  }

  /** Rows of every chunk, copied; the slots are released afterwards. */
  #run(chunks: readonly SequenceChunk[], release: readonly number[]): Float32Array[][] {
    this.#context.checkAbort();
    const { runner } = this.#context;
    const logits = runner.run({ step: ++this.#step, release: [], copies: [], chunks });
    const rows = logits.map((result) => (result.kind === 'rows' ? result.rows.map((row) => row.slice()) : []));
    if (release.length > 0) runner.run({ step: ++this.#step, release, copies: [], chunks: [] });
    return rows;
  }

  #compare(index: number, position: number, row: Float32Array, way: string): void {
    this.#compared++;
    const expected = this.#reference[index]![position]!;
    if (Buffer.compare(bytesOf(row), bytesOf(expected)) === 0) return;
    if (this.#departures.length < postedMax) this.#departures.push(`sequence ${index}, position ${position}: ${way}`);
  }
}

const bytesOf = (row: Float32Array): Uint8Array => new Uint8Array(row.buffer, row.byteOffset, row.byteLength);

function chunk(
  slot: number,
  firstPosition: number,
  tokens: Int32Array,
  logits: SequenceChunk['logits'] = 'all',
): SequenceChunk {
  return { slot, firstPosition, tokens, logits };
}

function randomTokens(seed: number, length: number, vocabularySize: number): Int32Array {
  let state = seed + 1;
  return Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % vocabularySize;
  });
}

export const runLeader: RunLeader = (context: RankContext, { vocabularySize }: BitsJob) => {
  context.post(new BitComparison(context, vocabularySize).run());
};
