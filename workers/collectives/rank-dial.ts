/** Reaching the gate of another process of the group, which may not listen or not form yet. */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { TriremeError } from '#platform/errors.ts';
import { dialJoin, handshakeTimeoutMs, type JoinParty } from './join-handshake.ts';
import { splitAddress } from './rank-gate.ts';

/** Between two attempts. Their number is bounded by the signal. */
const redialMs = 100;

/** A socket that has joined, and the ranks behind it. */
export interface Joined {
  readonly socket: Socket;
  readonly ranks: readonly number[];
}

/**
 * Dials until the other process lets this one in. Errors: STALE_EPOCH or INVALID_ARGUMENT as refused there, RANK_FAILED when
 * it speaks something else, the signal's reason.
 */
export async function dialUntil(address: string, party: JoinParty, signal: AbortSignal): Promise<Joined> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await dial(address, party, signal);
    } catch (error) {
      signal.throwIfAborted();
      const isEarly = error instanceof TriremeError ? error.code === 'UNAVAILABLE' : isUnreachable(error);
      if (!isEarly) throw error;
    }
    await delay(redialMs, undefined, { signal });
  }
}

async function dial(address: string, party: JoinParty, signal: AbortSignal): Promise<Joined> {
  const socket = connect({ ...splitAddress(address), noDelay: true });
  const give = (reason: Error): void => void socket.destroy(reason);
  const onAbort = (): void => give(new TriremeError('CANCELLED', 'joining was given up'));
  const timer = setTimeout(
    () => give(new TriremeError('UNAVAILABLE', `${address} does not answer`)),
    handshakeTimeoutMs,
  );
  signal.addEventListener('abort', onAbort);
  let failure: Error | undefined;
  const onError = (error: Error): void => {
    failure = error;
  };
  socket.on('error', onError);
  try {
    const ranks = await dialJoin(socket, party);
    socket.off('error', onError);
    return { socket, ranks };
  } catch (error) {
    socket.destroy();
    // The reading side only sees that the connection ended; why is in its error event.
    throw failure ?? error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function isUnreachable(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return ['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE'].includes(code ?? '');
}
