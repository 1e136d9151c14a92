/** Listen addresses, and what it means when one cannot be bound. */
import { TriremeError } from './errors.ts';

export interface ListenAddress {
  /** As written; IPv6 keeps its brackets. */
  readonly host: string;
  readonly port: number;
}

/** `host:port`, port 0 to 65535. Errors: INVALID_CONFIG. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(\[[0-9a-f:.]+\]|[^:\s]+):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[2]);
  if (!match?.[1] || port > 65_535) {
    throw new TriremeError('INVALID_CONFIG', `${JSON.stringify(text)} is no address to listen on`, {
      remedy: 'write host:port, such as 127.0.0.1:9010; port 0 takes any free port',
    });
  }
  return { host: match[1], port };
}

/** What a failed bind means: PORT_IN_USE, or INVALID_CONFIG for an address that this machine does not have or may not use. */
export function listenError(address: string, cause: unknown): TriremeError {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (message.includes('EADDRINUSE')) {
    return new TriremeError('PORT_IN_USE', `${address} is in use by another process`, {
      cause,
      remedy: 'stop that process or listen on another port; port 0 takes any free one',
    });
  }
  return new TriremeError('INVALID_CONFIG', `cannot listen on ${address}: ${message}`, {
    cause,
    remedy: 'choose an address of this machine and a port above 1023',
  });
}
