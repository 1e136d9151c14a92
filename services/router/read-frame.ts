/** What one frame brings, read whole before anything is done about it. */
import type { TriremeError } from '#platform/errors.ts';
import type { Frame, FrameEntry } from '#proto/worker.ts';
import type { ActiveRequest } from './active-request.ts';
import { maxHeldEntries } from './choice.ts';
import { errorFromLeader, isGroupFailure, lostFrames, sendsElsewhere } from './failures.ts';
import type { LeaderSession } from './leader-session.ts';
import type { Found, RequestBook } from './request-book.ts';

export interface Harvest {
  /** Requests with something for their clients; it is in their deltas. */
  readonly touched: Set<ActiveRequest>;
  /** Attempts that cannot go on here. moves: the request can, elsewhere. */
  readonly failed: { readonly found: Found; readonly error: TriremeError; readonly moves: boolean }[];
  /** Choices that have ended here, and that the leader still runs. */
  readonly stopped: { readonly found: Found; readonly choice: number }[];
  /** The group is over. */
  groupFailure: TriremeError | undefined;
}

/** The frame is new, and the session's tracker knows of it. */
export function readFrame(session: LeaderSession, frame: Frame, book: Pick<RequestBook, 'find'>): Harvest {
  const harvest: Harvest = { touched: new Set(), failed: [], stopped: [], groupFailure: undefined };
  for (const entry of frame.entries) {
    const found = book.find(session, entry);
    if (found) readEntry(session, found, entry, frame.sequence, harvest);
  }
  if (frame.covers > 0) findLeftOut(session, harvest);
  return harvest;
}

function readEntry(session: LeaderSession, found: Found, entry: FrameEntry, sequence: number, harvest: Harvest): void {
  const { touched, failed, stopped } = harvest;
  const { request, attempt } = found;
  const choice = request.choices[entry.choice];
  if (!choice || choice.finished) return;
  request.becomeAccepted(attempt);
  if (entry.errorCode !== '') {
    const error = errorFromLeader(session.group, entry.errorCode, entry.errorMessage);
    if (isGroupFailure(entry.errorCode)) harvest.groupFailure ??= error;
    else failed.push({ found, error, moves: sendsElsewhere(entry.errorCode) });
    return;
  }
  const delta = choice.take(entry, sequence);
  if (choice.heldCount > 0 && (session.frames.missingCount === 0 || choice.heldCount > maxHeldEntries)) {
    failed.push({ found, error: lostFrames(session, [], choice.tokenCount), moves: true });
  }
  if (!delta) return;
  touched.add(request);
  request.deltas.push(delta);
  if (choice.stopsAtLeader) stopped.push({ found, choice: choice.index });
}

/** Everything has been repeated: who still waits for earlier positions waits for nothing. */
function findLeftOut(session: LeaderSession, { failed }: Harvest): void {
  if (session.frames.missingCount > 0) return;
  for (const request of session.requests) {
    const { attempt } = request;
    const waiting = request.choices.find(({ heldCount }) => heldCount > 0);
    if (!attempt || !waiting) continue;
    failed.push({ found: { request, attempt }, error: lostFrames(session, [], waiting.tokenCount), moves: true });
  }
}
