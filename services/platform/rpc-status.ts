/**
 * Errors on the wire. A TriremeError travels as its gRPC status with two trailers: `trireme-code` holds the exact code,
 * `trireme-remedy` the remedy. A stock client sees status and message; ours gets the same TriremeError back.
 */
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { type ErrorCode, errorCodes, TriremeError } from './errors.ts';

const codeTrailer = 'trireme-code';
const remedyTrailer = 'trireme-remedy';
const unsendable = 'Request message serialization failure: ';
/** grpc-js says this when a call never left. */
const noConnection = 'No connection established';
/** Longer texts are cut: trailers share the limit of HTTP/2 headers. */
const maxTextLength = 2000;

/** What a server sends when a call fails. Errors that nobody classified keep their cause to themselves. */
export function statusFromError(error: unknown): StatusObject {
  const { code, message, remedy } =
    error instanceof TriremeError ? error : new TriremeError('INTERNAL', 'the server failed; its log has the cause');
  const metadata = new Metadata();
  metadata.set(codeTrailer, code);
  if (remedy) metadata.set(remedyTrailer, toAscii(sendable(remedy)));
  return { code: errorCodes[code].grpc, details: sendable(message), metadata };
}

/** What a client makes of a failed call to `address`. Without our trailer the status decides alone. */
export function errorFromStatus(failure: StatusObject, address: string): TriremeError {
  const code = first(failure.metadata, codeTrailer);
  const remedy = first(failure.metadata, remedyTrailer);
  if (isErrorCode(code)) {
    return new TriremeError(code, failure.details, remedy ? { remedy: fromAscii(remedy) } : {});
  }
  return foreignError(failure, address);
}

function foreignError({ code, details }: StatusObject, address: string): TriremeError {
  switch (code) {
    case status.CANCELLED:
      return new TriremeError('CANCELLED', details);
    case status.DEADLINE_EXCEEDED:
      return new TriremeError('DEADLINE_EXCEEDED', `no answer from ${address} in time`);
    case status.INVALID_ARGUMENT:
      return new TriremeError('INVALID_ARGUMENT', details);
    case status.RESOURCE_EXHAUSTED:
      // grpc-js itself refuses a long message, on either side, and says so in words only.
      return new TriremeError(/larger than/.test(details) ? 'MESSAGE_TOO_LARGE' : 'NO_ROOM', details);
    case status.UNIMPLEMENTED:
      return new TriremeError('UNIMPLEMENTED', `${address} does not serve this method: ${details}`, {
        remedy: 'check that the address is that of a Trireme process of the same version',
      });
    case status.UNAVAILABLE:
      if (!details.startsWith(noConnection)) {
        return new TriremeError('CONNECTION_LOST', `the connection to ${address} broke: ${plainReason(details)}`, {
          remedy: 'try again; what the call had done by then may have taken effect',
        });
      }
      return new TriremeError('UNAVAILABLE', `no connection to ${address}: ${plainReason(details)}`, {
        remedy: 'see that a Trireme process listens there',
      });
    case status.INTERNAL:
      // grpc-js itself says this of a message that does not fit its proto, before anything is sent.
      if (details.startsWith(unsendable)) return new TriremeError('INVALID_ARGUMENT', details.slice(unsendable.length));
      return internal(code, details, address);
    default:
      return internal(code, details, address);
  }
}

function internal(code: status, details: string, address: string): TriremeError {
  return new TriremeError('INTERNAL', `${address} answered ${status[code]}: ${details}`);
}

/** "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: " as a person would say it. */
function plainReason(details: string): string {
  const [, reason] = /Last error: (?:\w*Error(?: \[\w+\])?: )?(.*?)[.]* Resolution note: $/.exec(details) ?? [];
  return reason ?? details;
}

function first(metadata: Metadata, key: string): string | undefined {
  return metadata.get(key)[0]?.toString();
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(errorCodes, code);
}

/** grpc-js encodes texts with encodeURI, which throws on half a character; a message may quote any input. */
function sendable(text: string): string {
  const cut = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}...` : text;
  return cut.toWellFormed();
}

/** Trailers are printable ASCII; everything else is percent-encoded, as gRPC does with its own message. */
function toAscii(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}

function fromAscii(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Not written by toAscii: better shown raw than lost.
  }
}
