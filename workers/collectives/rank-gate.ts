/**
 * Where the ranks of other processes knock: one listening socket a process, whatever the number of teams. It lets in who
 * names a formation that is expected here and proves its secret; everybody else is told why not and cut off.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { TriremeError } from '#platform/errors.ts';
import {
  answerJoin,
  handshakeTimeoutMs,
  type JoinMessage,
  type JoinParty,
  receiveJoin,
  refuseJoin,
} from './join-handshake.ts';

/** Connections that have not joined yet. One more is closed at once. */
const knockingMax = 64;
/** Groups whose newest epoch is remembered. One more: the oldest is forgotten. */
const pastGroupsMax = 1024;

/** A formation whose other processes may join. */
export interface Expectation extends JoinParty {
  /** Ranks that may come in; each once. */
  readonly awaited: Set<number>;
  /** The socket is the expectation's from now on; nobody has read beyond the handshake. */
  onJoin(socket: Socket, ranks: readonly number[]): void;
}

export class RankGate {
  /** host:port on which it listens. */
  readonly address: string;
  readonly #server: Server;
  readonly #knocking = new Set<Socket>();
  readonly #expected = new Map<string, Expectation>();
  readonly #newestEpoch = new Map<string, number>();

  /** `server` listens already: see openRankGate(). */
  constructor(server: Server) {
    this.#server = server;
    const bound = server.address();
    const { address, port } = typeof bound === 'object' && bound ? bound : { address: '', port: 0 };
    this.address = `${address.includes(':') ? `[${address}]` : address}:${port}`;
    server.on('connection', (socket) => void this.#admit(socket));
  }

  /** Lets the processes of a formation in, until the result is called. */
  expect(expectation: Expectation): () => void {
    const { group, epoch } = expectation;
    this.#expected.set(group, expectation);
    this.#newestEpoch.delete(group);
    this.#newestEpoch.set(group, epoch);
    for (const past of this.#newestEpoch.keys()) {
      if (this.#newestEpoch.size <= pastGroupsMax) break;
      this.#newestEpoch.delete(past);
    }
    return () => {
      if (this.#expected.get(group) === expectation) this.#expected.delete(group);
    };
  }

  /** Ends connections that have not joined; those that have are the teams'. */
  async close(): Promise<void> {
    for (const socket of this.#knocking) socket.destroy();
    this.#server.unref();
    // Not awaited: the server counts the sockets that have joined as well, and they end with their teams.
    this.#server.close();
  }

  async #admit(socket: Socket): Promise<void> {
    if (this.#knocking.size >= knockingMax) return void socket.destroy();
    this.#knocking.add(socket);
    const ignoreErrors = (): void => {}; // 'close' follows, and ends the handshake
    socket.on('error', ignoreErrors);
    const timer = setTimeout(() => socket.destroy(), handshakeTimeoutMs);
    try {
      const join = await receiveJoin(socket);
      const expectation = this.#expectationOf(join);
      await answerJoin(socket, join, expectation);
      checkAwaited(expectation, join);
      for (const rank of join.ranks) expectation.awaited.delete(rank);
      expectation.onJoin(socket, join.ranks);
    } catch (error) {
      refuseJoin(socket, TriremeError.from(error));
    } finally {
      clearTimeout(timer);
      socket.off('error', ignoreErrors);
      if (socket.writableEnded) socket.on('error', ignoreErrors);
      this.#knocking.delete(socket);
    }
  }

  /** Errors: STALE_EPOCH; UNAVAILABLE when this process may still learn of the formation; INVALID_ARGUMENT. */
  #expectationOf(join: JoinMessage): Expectation {
    const { group, epoch } = join;
    const newest = this.#newestEpoch.get(group);
    if (newest !== undefined && epoch < newest) {
      throw new TriremeError('STALE_EPOCH', `group ${group} is at epoch ${newest} here, not ${epoch}`);
    }
    const expectation = this.#expected.get(group);
    if (expectation?.epoch !== epoch) {
      throw new TriremeError('UNAVAILABLE', `group ${group} does not form at epoch ${epoch} here yet`);
    }
    if (join.teamRanks !== expectation.teamRanks || join.sliceBytes !== expectation.sliceBytes) {
      throw new TriremeError('INVALID_ARGUMENT', 'the model, its ranks or the serving settings differ here');
    }
    checkAwaited(expectation, join);
    return expectation;
  }
}

/** Listens on host:port; port 0 means any free one. Errors: PORT_IN_USE, INVALID_CONFIG. */
export function openRankGate(address: string): Promise<RankGate> {
  const { host, port } = splitAddress(address);
  const server = createServer({ noDelay: true });
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'PORT_IN_USE' : 'INVALID_CONFIG';
      const remedy = 'Name another address for ranks to meet at, or port 0 for any free one';
      reject(new TriremeError(code, `cannot listen on ${address}: ${cause.message}`, { remedy, cause }));
    });
    server.listen(port, host, () => resolve(new RankGate(server)));
  });
}

function checkAwaited({ awaited }: Expectation, join: JoinMessage): void {
  const stray = join.ranks.find((rank) => !awaited.has(rank));
  if (stray !== undefined) throw new TriremeError('INVALID_ARGUMENT', `rank ${stray} is not awaited here`);
}

/** Errors: INVALID_CONFIG. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [, inBrackets, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = inBrackets ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535) throw new TriremeError('INVALID_CONFIG', `${address} is no host:port`);
  return { host, port };
}
