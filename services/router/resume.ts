/** Streams that broke with their router, or on the way from it: the client brings what it has and gets the rest. */
import { TriremeError } from '#platform/errors.ts';
import type { GenerateResponse, ResumeRequest } from '#proto/inference.ts';
import type { FrontDoor } from './front-door.ts';

/** Errors: INVALID_ARGUMENT; those of FrontDoor.generate(). */
export async function resume(
  door: Pick<FrontDoor, 'generate'>,
  { request, received, streamDigest }: ResumeRequest,
  deliver: (response: GenerateResponse) => void,
  signal: AbortSignal,
): Promise<void> {
  if (!request) throw new TriremeError('INVALID_ARGUMENT', 'what is resumed must carry the original request');
  const hasTokens = received.some(({ tokenIds }) => tokenIds.length > 0);
  if (hasTokens && (request.requestId === '' || request.sampling?.seed === undefined)) {
    throw new TriremeError('INVALID_ARGUMENT', 'a request that is resumed needs its request_id and its seed', {
      remedy: 'fill in those of its first response',
    });
  }
  const n = Math.max(1, request.n);
  if (received.filter(({ finished }) => finished).length === n) return;
  await door.generate(request, deliver, signal, { received, streamDigest });
}
