/**
 * The worker service over gRPC. Session: the first message decides which desk, then messages pass through until either side is
 * gone. Attach: frames of that desk, beside the bus.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { implement, type RpcBidiCall, type RpcService, type RpcStreamCall } from '#platform/rpc.ts';
import {
  type AttachRequest,
  type Frame,
  type Hello,
  type LeaderMessage,
  type RouterMessage,
  WorkerService,
} from '#proto/worker.ts';
import type { HeldGroups } from './held-groups.ts';
import type { WorkerLimits } from './limits.ts';
import type { FrameLink, RouterDesk, SessionLink } from './router-desk.ts';

type SessionCall = RpcBidiCall<RouterMessage, LeaderMessage>;
type Requests = AsyncIterator<RouterMessage>;

export interface SessionServerOptions {
  readonly groups: HeldGroups;
  readonly limits: WorkerLimits;
  readonly clock: Clock;
}

export function sessionService(options: SessionServerOptions): RpcService {
  return implement(WorkerService, {
    session: (call) => serveSession(call, options),
    attach: (request, call) => serveFrames(request, call, options),
  });
}

async function serveSession(call: SessionCall, { groups, limits, clock }: SessionServerOptions): Promise<void> {
  const requests = call.requests[Symbol.asyncIterator]();
  const { routerIncarnation, group, epoch } = await readHello(requests, limits, clock);
  const ended = Promise.withResolvers<never>();
  const link: SessionLink = {
    send: (message) => void call.send(message),
    get keepsUp() {
      return call.pendingCount === 0;
    },
    end: ended.reject,
  };
  const router = groups.deskOf(group, epoch).open(routerIncarnation, link);
  try {
    await Promise.race([passOn(requests, router), ended.promise]);
  } finally {
    router.onBreak(link);
  }
}

/** Until the router ends the call, or the desk does. */
async function serveFrames(
  request: AttachRequest,
  call: RpcStreamCall<Frame>,
  { groups }: SessionServerOptions,
): Promise<void> {
  const ended = Promise.withResolvers<never>();
  const link: FrameLink = { send: (frame) => void call.send(frame), end: ended.reject };
  const router = groups.deskOf(request.group, request.epoch).attach(link, request);
  call.signal.addEventListener('abort', () => ended.reject(call.signal.reason), { once: true });
  try {
    await ended.promise;
  } finally {
    router.detach(link);
  }
}

async function readHello(requests: Requests, { helloTimeoutMs }: WorkerLimits, clock: Clock): Promise<Hello> {
  const late = Promise.withResolvers<never>();
  const cancel = clock.after(helloTimeoutMs, () =>
    late.reject(new TriremeError('DEADLINE_EXCEEDED', `no Hello within ${helloTimeoutMs} ms`)),
  );
  try {
    const { value, done } = await Promise.race([requests.next(), late.promise]);
    if (!done && value.message?.$case === 'hello' && value.message.value.routerIncarnation !== '') {
      return value.message.value;
    }
    throw new TriremeError('INVALID_ARGUMENT', 'a session opens with a Hello that names the router');
  } finally {
    cancel();
  }
}

async function passOn(requests: Requests, router: RouterDesk): Promise<void> {
  for (;;) {
    const { value, done } = await requests.next();
    if (done) return;
    router.onMessage(value);
  }
}
