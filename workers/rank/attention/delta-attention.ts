/** Gated delta nets over the layers of a model: each keeps a state per sequence, which its rows change in turn. */
import { assert } from '#platform/assert.ts';
import { pieceNames, vectorNames } from '../../models/manifest.ts';
import { evenRange } from '../../models/shard.ts';
import type { DeltaSpec } from '../../models/spec.ts';
import type { Io, Runtime, Session, Tensor } from '../../runtime/runtime.ts';
import { Rows } from '../step-tensors.ts';
import {
  type AttentionKind,
  type AttentionLayer,
  adapted,
  type KindOptions,
  type OpenPiece,
  streamInputs,
} from './attention-kind.ts';
import type { ChunkRows } from './kv-cache.ts';

/** Of one sequence in one layer: the last inputs of the convolution, and what the recurrence remembers. */
interface State {
  readonly convolution: Tensor;
  readonly memory: Tensor;
  /** Of both. */
  readonly data: readonly Float32Array[];
}

interface StateShape {
  readonly convolution: readonly number[];
  readonly memory: readonly number[];
}

/** Smaller arrays may lie in the V8 heap, where they move. */
const minimumFloats = 64;

function createState(runtime: Runtime, { convolution, memory }: StateShape): State {
  const data = [convolution, memory].map((dims) => {
    const count = dims.reduce((product, size) => product * size, 1);
    return new Float32Array(Math.max(minimumFloats, count)).subarray(0, count);
  });
  return { convolution: runtime.tensor(data[0]!, convolution), memory: runtime.tensor(data[1]!, memory), data };
}

/** Of a layer, by value head. */
interface Gates {
  readonly speeds: Float32Array;
  readonly bias: Float32Array;
}

/** log(1 + e^x), also where e^x overflows. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

export class DeltaAttention implements AttentionKind {
  readonly context: Rows;
  readonly gate: Rows;
  readonly #options: KindOptions;
  readonly #shape: StateShape;
  readonly #mixed: Rows;
  readonly #rate: Rows;
  readonly #decay: Rows;
  /** How many positions a slot's states have seen. */
  readonly #positions: number[];
  readonly #io: Io;

  /** `spec` of any layer: they are all alike. */
  constructor(options: KindOptions, spec: DeltaSpec) {
    this.#options = options;
    const { runtime, place, maxRows, slots } = options;
    const { keyDim, valueDim, kernel } = spec;
    const keyHeads = evenRange(spec.keyHeads, place).count;
    const valueHeads = (spec.valueHeads / spec.keyHeads) * keyHeads;
    const channels = 2 * keyHeads * keyDim + valueHeads * valueDim;
    this.#shape = {
      convolution: [1, channels, kernel - 1],
      memory: [1, valueHeads, keyDim, valueDim],
    };
    const rows = (width: number): Rows => new Rows(runtime, maxRows, width);
    this.#mixed = rows(channels);
    this.#rate = rows(valueHeads);
    this.#decay = rows(valueHeads);
    this.gate = rows(valueHeads * valueDim);
    this.context = rows(valueHeads * valueDim);
    this.#positions = new Array<number>(slots).fill(0);
    this.#io = runtime.io(
      ['mixed', 'rate', 'decay', 'convolution', 'state'],
      ['context', 'next_convolution', 'next_state'],
    );
  }

  /** A state cannot be taken back: every position passes once, in order, or the sequence starts again. */
  beginStep(chunks: readonly ChunkRows[]): void {
    for (const { slot, firstPosition, rows } of chunks) {
      assert(firstPosition === 0 || this.#positions[slot] === firstPosition, 'a delta net sees every position once');
      this.#positions[slot] = firstPosition + rows;
    }
  }

  openLayer(layer: number, piece: OpenPiece): AttentionLayer {
    const { runtime, slots, stream, adapters } = this.#options;
    const { name, inputs: more } = adapted(adapters, pieceNames.attentionIn(layer));
    const session = piece(name);
    const delta = piece(pieceNames.delta(layer));
    const gates = {
      speeds: this.#options.vector(vectorNames.decayLog(layer)).map(Math.exp),
      bias: this.#options.vector(vectorNames.decayBias(layer)),
    };
    const { inputs, outputs } = streamInputs(stream, layer);
    const io = stream.io.create(
      [...inputs, ...more],
      [...outputs, ['mixed', this.#mixed], ['rate', this.#rate], ['decay', this.#decay], ['gate', this.gate]],
    );
    const states = Array.from({ length: slots }, () => createState(runtime, this.#shape));
    // What a run writes; afterwards it and the state that was read change places.
    let spare = createState(runtime, this.#shape);
    return {
      run: (chunks) => {
        session.run(io);
        this.#activate(gates, chunks);
        for (const chunk of chunks) {
          const state = states[chunk.slot]!;
          this.#runChunk(delta, chunk, state, spare);
          states[chunk.slot] = spare;
          spare = state;
        }
      },
    };
  }

  /**
   * How strongly a row is written and how far the state decays before it: sigmoid(rate) and -speed * softplus(decay + bias). A few
   * numbers a row, for which operators take other paths than for many; what follows multiplies any difference.
   */
  #activate({ speeds, bias }: Gates, chunks: readonly ChunkRows[]): void {
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    const [rate, decay] = [this.#rate.data, this.#decay.data];
    const heads = this.#rate.width;
    for (let i = 0; i < rows * heads; i++) {
      const head = i % heads;
      rate[i] = 1 / (1 + Math.exp(-rate[i]!));
      decay[i] = -speeds[head]! * softplus(decay[i]! + bias[head]!);
    }
  }

  #runChunk(session: Session, { firstPosition, firstRow, rows }: ChunkRows, state: State, next: State): void {
    if (firstPosition === 0) for (const values of state.data) values.fill(0);
    const io = this.#io;
    io.input(0, this.#mixed.some(firstRow, rows));
    io.input(1, this.#rate.some(firstRow, rows));
    io.input(2, this.#decay.some(firstRow, rows));
    io.input(3, state.convolution);
    io.input(4, state.memory);
    io.output(0, this.context.some(firstRow, rows));
    io.output(1, next.convolution);
    io.output(2, next.memory);
    session.run(io);
  }
}
