/**
 * How two processes of a group meet: four short messages, each a length and JSON. Both prove that they know the epoch's
 * secret (HMAC over both nonces and all that was said, under the name of the one who proves), neither sends it.
 *
 *   dialler -> gate   join       what it is, its nonce
 *   gate -> dialler   challenge  its ranks, its nonce, its proof      or refused
 *   dialler -> gate   proof
 *   gate -> dialler   joined                                         or refused
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import * as z from 'zod';
import { type ErrorCode, TriremeError } from '#platform/errors.ts';

/** Whoever has not finished by then is cut off. */
export const handshakeTimeoutMs = 5000;
/** Longest message in bytes. */
const messageBytesMax = 16 << 10;
const nonceBytes = 32;
const protocolVersion = 1;

const ranks = z.array(z.int().min(0)).min(1).readonly();
const joinSchema = z.strictObject({
  protocol: z.literal(protocolVersion),
  group: z.string(),
  epoch: z.number(),
  ranks,
  teamRanks: z.int(),
  sliceBytes: z.int(),
  nonce: z.string(),
});
const refusedSchema = z.strictObject({ refused: z.string(), code: z.string() });
const challengeSchema = z.union([z.strictObject({ ranks, nonce: z.string(), proof: z.string() }), refusedSchema]);
const proofSchema = z.strictObject({ proof: z.string() });
const joinedSchema = z.union([z.strictObject({ joined: z.literal(true) }), refusedSchema]);

export type JoinMessage = z.infer<typeof joinSchema>;

/** A process' part in a formation, as it presents itself. */
export interface JoinIdentity {
  readonly group: string;
  readonly epoch: number;
  /** Of this process. */
  readonly ranks: readonly number[];
  /** Ranks of the group, and the size of a slice of its memory: both sides must have the same. */
  readonly teamRanks: number;
  readonly sliceBytes: number;
}

export interface JoinParty extends JoinIdentity {
  readonly secret: Uint8Array;
}

/**
 * The dialler's side, over a connected socket that nobody reads. Resolves with the ranks of the other process. Errors:
 * what the gate refused with (UNAVAILABLE: not yet, STALE_EPOCH, INVALID_ARGUMENT), INVALID_ARGUMENT when the gate does
 * not know the secret, RANK_FAILED when it hangs up.
 */
export async function dialJoin(socket: Socket, party: JoinParty): Promise<readonly number[]> {
  const { secret, ...identity } = party;
  const nonce = newNonce();
  const join: JoinMessage = { protocol: protocolVersion, ...identity, nonce };
  send(socket, join);
  const challenge = refuseRefusal(await receive(socket, challengeSchema));
  if (!isProof(challenge.proof, 'gate', secret, join, challenge)) {
    throw new TriremeError('INVALID_ARGUMENT', 'the other process does not know the secret of this epoch');
  }
  send(socket, { proof: prove('dialler', secret, join, challenge) });
  refuseRefusal(await receive(socket, joinedSchema));
  return challenge.ranks;
}

/** The gate's side, first half: what the dialler says it is. Errors: RANK_FAILED when it is no such message. */
export function receiveJoin(socket: Socket): Promise<JoinMessage> {
  return receive(socket, joinSchema);
}

/** The gate's side, second half. Errors: INVALID_ARGUMENT, told to the dialler, when it does not know the secret. */
export async function answerJoin(socket: Socket, join: JoinMessage, party: JoinParty): Promise<void> {
  const challenge = { ranks: party.ranks, nonce: newNonce() };
  send(socket, { ...challenge, proof: prove('gate', party.secret, join, challenge) });
  const { proof } = await receive(socket, proofSchema);
  if (!isProof(proof, 'dialler', party.secret, join, challenge)) {
    throw new TriremeError('INVALID_ARGUMENT', 'you do not know the secret of this epoch');
  }
  send(socket, { joined: true });
}

/** Says why, and hangs up. */
export function refuseJoin(socket: Socket, { code, message }: TriremeError): void {
  if (socket.writable) send(socket, { refused: message, code });
  socket.end();
}

function newNonce(): string {
  return randomBytes(nonceBytes).toString('hex');
}

type Challenge = { readonly ranks: readonly number[]; readonly nonce: string };

function prove(who: 'gate' | 'dialler', secret: Uint8Array, join: JoinMessage, challenge: Challenge): string {
  const { group, epoch, ranks: diallers, teamRanks, sliceBytes, nonce } = join;
  const said = [who, group, epoch, diallers, teamRanks, sliceBytes, nonce, challenge.ranks, challenge.nonce];
  return createHmac('sha256', secret).update(JSON.stringify(said)).digest('hex');
}

function isProof(proof: string, ...said: Parameters<typeof prove>): boolean {
  const expected = Buffer.from(prove(...said));
  const given = Buffer.from(proof);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function refuseRefusal<T extends object>(message: T | z.infer<typeof refusedSchema>): T {
  if (!('refused' in message)) return message;
  const code = (['UNAVAILABLE', 'STALE_EPOCH', 'INVALID_ARGUMENT'] as const satisfies readonly ErrorCode[]).find(
    (known) => known === message.code,
  );
  throw new TriremeError(code ?? 'RANK_FAILED', `refused by the other process: ${message.refused}`);
}

function send(socket: Socket, message: object): void {
  const text = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32LE(text.length);
  socket.write(Buffer.concat([head, text]));
}

async function receive<T>(socket: Socket, schema: z.ZodType<T>): Promise<T> {
  const length = (await readExactly(socket, 4)).readUInt32LE();
  if (length > messageBytesMax) throw new TriremeError('RANK_FAILED', `a message of ${length} bytes while joining`);
  const text = await readExactly(socket, length);
  try {
    return schema.parse(JSON.parse(text.toString()));
  } catch (cause) {
    throw new TriremeError('RANK_FAILED', 'the other process does not join as this version does', { cause });
  }
}

/** Leaves what comes after in the socket. */
async function readExactly(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = socket.read(length);
    if (bytes?.length === length) return bytes;
    if (bytes || socket.readableEnded || socket.destroyed) {
      throw new TriremeError('RANK_FAILED', 'the other process hung up while joining');
    }
    await nextReading(socket);
  }
}

/** Resolves when there is more to read, or never will be. */
function nextReading(socket: Socket): Promise<void> {
  const events = ['readable', 'end', 'close'] as const;
  return new Promise((resolve) => {
    const onEvent = () => {
      for (const event of events) socket.off(event, onEvent);
      resolve();
    };
    for (const event of events) socket.on(event, onEvent);
  });
}
