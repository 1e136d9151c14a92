/** Keeps one session to the leader of every group that takes requests, and tries again when one breaks. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import { createRpcClient, type Dial } from '#platform/rpc.ts';
import { type GroupRecord, GroupState } from '#proto/records.ts';
import type { AttachRequest, RouterMessage } from '#proto/worker.ts';
import type { RouterConfig } from './config.ts';
import type { RouterEvent, SessionId } from './events.ts';
import type { Fleet } from './fleet.ts';
import { SessionClient } from './session-client.ts';

const firstPauseMs = 50;

export interface SessionManagerOptions {
  readonly fleet: Fleet;
  readonly routerIncarnation: string;
  readonly config: Pick<RouterConfig, 'helloTimeout' | 'maxReconnectPause'>;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  /** Default: over gRPC. */
  readonly dial?: Dial;
  onEvent(event: RouterEvent): void;
}

/** One group at one epoch. */
interface Link {
  readonly group: string;
  readonly epoch: number;
  readonly address: string;
  pauseMs: number;
  /** Connecting or open; undefined in a pause. */
  current: { readonly id: SessionId; readonly client: SessionClient } | undefined;
  cancelPause: () => void;
}

export class SessionManager {
  #nextId: SessionId = 1;
  readonly #links = new Map<string, Link>();
  readonly #bySession = new Map<SessionId, Link>();
  readonly #options: SessionManagerOptions;

  constructor(options: SessionManagerOptions) {
    this.#options = options;
  }

  /** Brings the sessions in line with the fleet. */
  reconcile(): void {
    const { fleet } = this.#options;
    for (const link of [...this.#links.values()]) {
      const record = fleet.group(link.group);
      if (record?.epoch === link.epoch && leaderAddress(record) === link.address && isLed(record)) continue;
      this.#end(link, new TriremeError('UNAVAILABLE', describeChange(link, record)));
    }
    for (const record of fleet.groups) {
      const address = leaderAddress(record);
      if (record.state !== GroupState.GROUP_STATE_READY || !address || this.#links.has(record.group)) continue;
      const { group, epoch } = record;
      const link: Link = { group, epoch, address, pauseMs: firstPauseMs, current: undefined, cancelPause: () => {} };
      this.#links.set(group, link);
      this.#connect(link);
    }
  }

  /** Nothing happens when the session is over. */
  send(session: SessionId, message: NonNullable<RouterMessage['message']>): void {
    this.#bySession.get(session)?.current?.client.send(message);
  }

  /** Nothing happens when the session is over. */
  attach(session: SessionId, request: AttachRequest): void {
    const link = this.#bySession.get(session);
    if (!link) return;
    this.#options.log.warn({ group: link.group, epoch: link.epoch }, 'frames are late: they come over gRPC too');
    link.current?.client.attach(request);
  }

  detach(session: SessionId): void {
    const link = this.#bySession.get(session);
    if (!link) return;
    this.#options.log.info({ group: link.group, epoch: link.epoch }, 'the bus is in time again');
    link.current?.client.detach();
  }

  /** The core gives this session up: another is tried after a pause. */
  close(session: SessionId, error: TriremeError): void {
    const link = this.#bySession.get(session);
    if (!link) return;
    link.current?.client.close();
    this.#onEnded(link, session, error);
  }

  stop(): void {
    for (const link of [...this.#links.values()]) {
      this.#end(link, new TriremeError('UNAVAILABLE', 'the router stops'));
    }
  }

  #connect(link: Link): void {
    const { routerIncarnation, clock, config, log, dial = createRpcClient, onEvent } = this.#options;
    const { group, epoch, address } = link;
    const id = this.#nextId++;
    const client = new SessionClient({
      ...{ address, group, epoch, routerIncarnation, clock, dial, helloTimeout: config.helloTimeout },
      events: {
        onOpened: (status) => {
          link.pauseMs = firstPauseMs;
          log.info({ group, epoch, address }, 'session opened');
          onEvent({ kind: 'session-opened', session: id, group, epoch, ...status });
        },
        onMessage: (message) => onEvent({ kind: 'session-message', session: id, message }),
        onAttachedFrame: (frame) => onEvent({ kind: 'attached-frame', session: id, frame }),
        onAttachEnded: (error) => this.#onAttachEnded(link, id, error),
        onEnded: (error) => this.#onEnded(link, id, error),
      },
    });
    link.current = { id, client };
    this.#bySession.set(id, link);
  }

  #onEnded(link: Link, id: SessionId, error: TriremeError): void {
    const { log, onEvent, clock } = this.#options;
    this.#bySession.delete(id);
    link.current = undefined;
    log.warn({ group: link.group, epoch: link.epoch, code: error.code, reason: error.message }, 'session ended');
    link.cancelPause = clock.after(this.#nextPause(link), () => this.#connect(link));
    onEvent({ kind: 'session-ended', session: id, error, planned: isPlanned(error) });
  }

  #onAttachEnded({ group, epoch }: Link, session: SessionId, error: TriremeError): void {
    this.#options.log.warn({ group, epoch, code: error.code, reason: error.message }, 'frames over gRPC ended');
    this.#options.onEvent({ kind: 'attach-ended', session });
  }

  /** The group is gone from the fleet, at least at this epoch. */
  #end(link: Link, error: TriremeError): void {
    this.#links.delete(link.group);
    link.cancelPause();
    const { current } = link;
    if (!current) return;
    current.client.close();
    this.#bySession.delete(current.id);
    this.#options.onEvent({ kind: 'session-ended', session: current.id, error, planned: true });
  }

  /** Twice as long each time, up to the limit; a quarter of it left to chance, lest all routers come at once. */
  #nextPause(link: Link): number {
    const [byte = 0] = this.#options.random.bytes(1);
    const pauseMs = link.pauseMs * (1 - byte / 1024);
    link.pauseMs = Math.min(2 * link.pauseMs, this.#options.config.maxReconnectPause);
    return pauseMs;
  }
}

function leaderAddress({ ranks }: GroupRecord): string | undefined {
  return ranks.find(({ rank }) => rank === 0)?.address;
}

/** The leader itself ended it, and its team is well. */
function isPlanned({ code }: TriremeError): boolean {
  return code === 'STALE_EPOCH' || code === 'UNAVAILABLE' || code === 'CANCELLED';
}

/** A draining group takes nothing new, but what runs there goes on. */
function isLed({ state }: GroupRecord): boolean {
  return state === GroupState.GROUP_STATE_READY || state === GroupState.GROUP_STATE_DRAINING;
}

function describeChange({ epoch }: Link, record: GroupRecord | undefined): string {
  if (!record) return 'it was taken away';
  return record.epoch === epoch ? 'it ended' : `it formed anew at epoch ${record.epoch}`;
}
