/**
 * Mirrors a team's memory between the processes of a group, on the thread that does I/O: what a rank here puts in place
 * goes to every other process, what a rank there has sent is put in place here. Ranks only ever see the memory.
 *
 * Nothing is polled: a publish wakes the event loop (Atomics.waitAsync), a read puts the part in place at once.
 */
import type { Socket } from 'node:net';
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { JoinParty } from './join-handshake.ts';
import { MirrorLink } from './mirror-link.ts';
import { dialUntil } from './rank-dial.ts';
import type { RankGate } from './rank-gate.ts';
import type { TeamMemory } from './team-memory.ts';

export interface MirrorOptions {
  readonly gate: RankGate;
  readonly memory: TeamMemory;
  readonly group: string;
  readonly epoch: number;
  readonly secret: Uint8Array;
  /** Ascending. */
  readonly localRanks: readonly number[];
  /** host:port of every rank's gate, by rank. Ranks of one address live in one process. */
  readonly addresses: readonly string[];
  /** How long the other processes may take to appear. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Another process of the group, and its ranks. */
interface Peer {
  readonly address: string;
  readonly ranks: readonly number[];
}

export class TcpMirror {
  readonly #memory: TeamMemory;
  readonly #links: MirrorLink[] = [];
  /** Generation of each local rank that has been sent. */
  readonly #sent = new Map<number, number>();
  readonly #aborted: Promise<void>;
  #isClosed = false;

  private constructor(memory: TeamMemory, localRanks: readonly number[]) {
    this.#memory = memory;
    for (const rank of localRanks) {
      assert(memory.generation(rank) === 0, 'a rank waits until its team has joined');
      this.#sent.set(rank, 0);
    }
    this.#aborted = this.#followAbort();
  }

  /**
   * Joins every other process of the group; resolves when all are there. No rank here may have entered a collective call
   * yet. Errors: DEADLINE_EXCEEDED naming the missing ranks, STALE_EPOCH, INVALID_ARGUMENT (see join-handshake.ts), RANK_FAILED
   * when the team is aborted, the signal's reason. After an error the team is aborted, and nothing is left open.
   */
  static async join(options: MirrorOptions): Promise<TcpMirror> {
    const mirror = new TcpMirror(options.memory, options.localRanks);
    try {
      await mirror.#meet(options);
    } catch (error) {
      options.memory.abort(`could not join the group: ${TriremeError.from(error).message}`);
      await mirror.close();
      throw error;
    }
    for (const rank of options.localRanks) void mirror.#follow(rank);
    return mirror;
  }

  /** Sends what is left and ends: takes leave of the other processes, or tells them of the abort. Idempotent. */
  async close(): Promise<void> {
    if (!this.#isClosed) this.#endFollowing();
    const { aborted, abortReason } = this.#memory;
    await Promise.all(this.#links.map((link) => (aborted ? link.abort(abortReason) : link.leave())));
  }

  async #meet(options: MirrorOptions): Promise<void> {
    const { gate, memory, group, epoch, secret, localRanks, timeoutMs, signal } = options;
    const peers = peersOf(options.addresses, localRanks);
    const missing = new Set(peers.flatMap(({ ranks }) => ranks));
    const met = Promise.withResolvers<void>();
    const onJoin = (socket: Socket, ranks: readonly number[]): void => {
      if (this.#isClosed) return void socket.destroy();
      this.#links.push(new MirrorLink(socket, ranks, memory));
      for (const rank of ranks) missing.delete(rank);
      if (missing.size === 0) met.resolve();
    };
    const party = { group, epoch, secret, ranks: localRanks, teamRanks: memory.ranks, sliceBytes: memory.sliceBytes };
    // Between two processes the one with the higher first rank dials.
    const dialled = peers.filter(({ ranks }) => ranks[0]! < localRanks[0]!);
    const awaited = new Set(peers.filter((peer) => !dialled.includes(peer)).flatMap(({ ranks }) => ranks));
    const withdraw = gate.expect({ ...party, awaited, onJoin });
    const over = new AbortController();
    const onAbort = (): void => met.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    const timer = setTimeout(() => met.reject(deadlineError(missing, timeoutMs)), timeoutMs);
    void this.#aborted.then(() => met.reject(new TriremeError('RANK_FAILED', memory.abortReason)));
    for (const peer of dialled)
      this.#dial(peer, party, over.signal).then((socket) => onJoin(socket, peer.ranks), met.reject);
    try {
      await met.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      over.abort();
      withdraw();
    }
  }

  async #dial(peer: Peer, party: JoinParty, signal: AbortSignal): Promise<Socket> {
    const { socket, ranks } = await dialUntil(peer.address, party, signal);
    if (ranks.join() === peer.ranks.join()) return socket;
    socket.destroy();
    throw new TriremeError('INVALID_ARGUMENT', `${peer.address} holds rank ${ranks}, the placement says ${peer.ranks}`);
  }

  /** Sends a local rank's parts as it puts them in place. */
  async #follow(rank: number): Promise<void> {
    const { words } = this.#memory;
    const index = this.#memory.generationIndex(rank);
    this.#memory.enterSleep(rank);
    while (!this.#isClosed) {
      const seen = this.#memory.generation(rank);
      this.#sendUpTo(rank, seen);
      const wait = Atomics.waitAsync(words, index, seen);
      if (wait.async) await wait.value;
    }
    this.#memory.leaveSleep(rank);
  }

  /** Resolves when the team is aborted, after telling the other processes; or never, when the mirror is closed first. */
  async #followAbort(): Promise<void> {
    const memory = this.#memory;
    while (!memory.aborted) {
      const wait = Atomics.waitAsync(memory.words, memory.abortIndex, 0);
      if (wait.async) await wait.value;
      if (this.#isClosed) return new Promise(() => {});
    }
    void this.close();
  }

  #sendUpTo(rank: number, generation: number): void {
    let sent = this.#sent.get(rank)!;
    while (sent !== generation) {
      sent = (sent + 1) | 0;
      for (const link of this.#links) link.sendPart(rank, sent);
    }
    this.#sent.set(rank, sent);
  }

  /** Wakes the followers, which see that it is over. */
  #endFollowing(): void {
    this.#isClosed = true;
    const { words, abortIndex } = this.#memory;
    for (const rank of this.#sent.keys()) {
      this.#sendUpTo(rank, this.#memory.generation(rank));
      Atomics.notify(words, this.#memory.generationIndex(rank));
    }
    Atomics.notify(words, abortIndex);
  }
}

/** The other processes: ranks by address, ascending. */
function peersOf(addresses: readonly string[], localRanks: readonly number[]): readonly Peer[] {
  const byAddress = new Map<string, number[]>();
  for (const [rank, address] of addresses.entries()) {
    if (localRanks.includes(rank)) continue;
    const ranks = byAddress.get(address) ?? [];
    ranks.push(rank);
    byAddress.set(address, ranks);
  }
  return [...byAddress].map(([address, ranks]) => ({ address, ranks }));
}

function deadlineError(missing: ReadonlySet<number>, timeoutMs: number): TriremeError {
  return new TriremeError('DEADLINE_EXCEEDED', `rank ${[...missing].join(', ')} did not join within ${timeoutMs} ms`, {
    remedy: 'Look at the worker that owns it: it may be loading, or unreachable at its rank address',
  });
}
