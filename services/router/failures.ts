/** How requests fail, in words for their clients. */
import { type ErrorCode, errorCodes, TriremeError } from '#platform/errors.ts';

const tryAgain = 'send the request again';

interface GroupAtEpoch {
  readonly group: string;
  readonly epoch: number;
}

export function queueFull(maxQueuedRequests: number): TriremeError {
  return new TriremeError('NO_ROOM', `${maxQueuedRequests} requests wait for a group already`, {
    remedy: 'try again later',
  });
}

/** After waiting in the queue. hasGroup: there are groups, but none had room. */
export function noGroup(model: string, waitMs: number, hasGroup: boolean): TriremeError {
  return hasGroup
    ? new TriremeError('NO_ROOM', `no group of ${model} had room within ${waitMs} ms`, { remedy: 'try again later' })
    : new TriremeError('UNAVAILABLE', `no group of ${model} was ready within ${waitMs} ms`, {
        remedy: 'see what its groups wait for: trireme status',
      });
}

export function sessionLost({ group, epoch }: GroupAtEpoch, cause: TriremeError): TriremeError {
  return new TriremeError('UNAVAILABLE', `group ${group} (epoch ${epoch}) is gone: ${cause.message}`, {
    cause,
    remedy: tryAgain,
  });
}

/** It has gone from group to group as often as it may. */
export function movesExhausted(maxMoves: number, cause: TriremeError): TriremeError {
  return new TriremeError('MOVES_EXHAUSTED', `the request lost its group ${maxMoves + 1} times: ${cause.message}`, {
    cause,
    remedy: 'see why groups end: trireme status',
  });
}

/** Two groups in a row died while they computed it and before it had brought a token. */
export function poisonous(cause: TriremeError): TriremeError {
  return new TriremeError('POISON_REQUEST', `two groups died of the request: ${cause.message}`, {
    cause,
    remedy: 'do not send it again; the logs of the workers say what it did to them',
  });
}

export function unanswered(group: string, limitMs: number): TriremeError {
  return new TriremeError('UNAVAILABLE', `group ${group} did not answer a submit within ${limitMs} ms`, {
    remedy: tryAgain,
  });
}

/** sequences: the frames that never came; none when the leader itself left out positions. */
export function lostFrames(
  { group, epoch }: GroupAtEpoch,
  sequences: readonly number[],
  tokenCount: number,
): TriremeError {
  const what = sequences.length === 0 ? 'positions' : `frame ${sequences.join(', ')}`;
  return new TriremeError(
    'UNAVAILABLE',
    `${what} of group ${group} (epoch ${epoch}) never came; the stream is whole up to its ${tokenCount} tokens`,
    { remedy: tryAgain },
  );
}

/** Refusals and ends after which another group may take the request. */
export function sendsElsewhere(code: string): boolean {
  return code === 'NO_ROOM' || code === 'UNAVAILABLE' || code === 'STALE_EPOCH';
}

/** What ends an attempt because its whole group is over. */
export function isGroupFailure(code: string): boolean {
  return code === 'RANK_FAILED';
}

/** What a leader said of one request. That its group failed is UNAVAILABLE to a client, whatever failed there. */
export function errorFromLeader(group: string, code: string, message: string): TriremeError {
  if (!Object.hasOwn(errorCodes, code)) {
    return new TriremeError('INTERNAL', `group ${group} answered ${JSON.stringify(code)}: ${message}`);
  }
  const known = code as ErrorCode;
  if (known === 'STALE_EPOCH' || errorCodes[known].grpc === errorCodes.UNAVAILABLE.grpc) {
    return new TriremeError('UNAVAILABLE', `group ${group} failed: ${message}`, { remedy: tryAgain });
  }
  return new TriremeError(known, message);
}
