/**
 * A group's leader without a model: serves Worker.Session over real gRPC, publishes frames to the bus, and makes up tokens
 * step by step, by itself or when the test says so. Misbehaves when told to.
 */
import type { Bus } from '#platform/bus.ts';
import { systemClock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { implement, type RpcBidiCall, type RpcServer, type RpcStreamCall, startRpcServer } from '#platform/rpc.ts';
import type { Store } from '#platform/store.ts';
import { EngineStatus } from '#proto/control.ts';
import { FinishReason, type TokenLogprobs } from '#proto/inference.ts';
import { frameSubject, groupKey } from '#proto/keys.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';
import {
  type Acknowledge,
  type AttachRequest,
  type CancelAttempt,
  Frame,
  FrameEntry,
  type LeaderMessage,
  type RouterMessage,
  type Submit,
  WorkerService,
} from '#proto/worker.ts';

const statusIntervalMs = 250;

type Session = RpcBidiCall<RouterMessage, LeaderMessage>;

interface FakeSequence {
  readonly submit: Submit;
  readonly choice: number;
  readonly router: FakeRouterState;
  position: number;
}

interface FakeRouterState {
  readonly incarnation: string;
  frames: RpcStreamCall<Frame> | undefined;
  /** All that was said to it and not acknowledged, in order. */
  kept: FrameEntry[];
  session: Session | undefined;
  lastFrame: number;
}

/** Undefined ends the choice with STOP, without a token. */
export type TokenScript = (submit: Submit, choice: number, position: number) => number | undefined;

export interface FakeLeaderOptions {
  readonly bus: Bus;
  readonly log: Logger;
  readonly group?: string;
  readonly epoch?: number;
  readonly listen?: string;
  readonly maxSequences?: number;
  readonly maxWaiting?: number;
  readonly tokens?: TokenScript;
  /** Steps follow each other as long as there is work; default true. */
  readonly automatic?: boolean;
}

export class FakeLeader {
  readonly group: string;
  readonly epoch: number;
  readonly submits: Submit[] = [];
  readonly cancels: CancelAttempt[] = [];
  readonly acknowledges: Acknowledge[] = [];
  /** What a submit gets; undefined: accepted. */
  refuse: (submit: Submit) => { code: string; message: string } | undefined = () => undefined;
  /** Frames that never reach the bus, by sequence. */
  loses: (sequence: number) => boolean = () => false;
  /** No message leaves any more, but connections stand. */
  mute = false;
  attachCount = 0;
  #step = 0;
  #server: RpcServer | undefined;
  #stepping = false;
  #waiting: (() => void)[] = [];
  readonly #routers = new Map<string, FakeRouterState>();
  #running: FakeSequence[] = [];
  readonly #options: FakeLeaderOptions;
  readonly #stopTicking: () => void;

  private constructor(options: FakeLeaderOptions) {
    this.#options = options;
    this.group = options.group ?? 'g0';
    this.epoch = options.epoch ?? 1;
    this.#stopTicking = systemClock.every(statusIntervalMs, () => {
      for (const router of this.#routers.values()) this.#sendStatus(router);
    });
  }

  static async start(options: FakeLeaderOptions): Promise<FakeLeader> {
    const leader = new FakeLeader(options);
    leader.#server = await startRpcServer({
      listen: options.listen ?? '127.0.0.1:0',
      log: options.log,
      services: [
        implement(WorkerService, {
          session: (call) => leader.#serve(call),
          attach: (request, call) => leader.#serveFrames(request, call),
        }),
      ],
    });
    return leader;
  }

  get address(): string {
    return this.#server?.address ?? '';
  }

  get stepCount(): number {
    return this.#step;
  }

  get runningCount(): number {
    return this.#running.length;
  }

  get sessionCount(): number {
    return [...this.#routers.values()].filter(({ session }) => session).length;
  }

  /** Writes the group's record, as a controller does. */
  async announce(store: Store, record: Partial<GroupRecord> = {}): Promise<void> {
    const { maxSequences = 64, maxWaiting = 64 } = this.#options;
    const full = GroupRecord.fromPartial({
      ...{ group: this.group, model: 'demo', epoch: this.epoch, state: GroupState.GROUP_STATE_READY },
      ranks: [{ rank: 0, worker: 'w0', address: this.address }],
      serving: { kvBlocks: 1024, maxSequences, stepTokens: 512, maxWaiting },
      ...record,
    });
    await store.put(groupKey(this.group), GroupRecord.encode(full).finish());
  }

  /** One token for every running sequence, one frame for every router; false when nothing runs. */
  step(): boolean {
    if (this.#running.length === 0) return false;
    this.#step++;
    const byRouter = new Map<FakeRouterState, FrameEntry[]>();
    const ended = new Set<FakeRouterState>();
    for (const sequence of this.#running) {
      const entry = this.#advance(sequence);
      if (entry.finishReason !== undefined) ended.add(sequence.router);
      const entries = byRouter.get(sequence.router) ?? [];
      entries.push(entry);
      byRouter.set(sequence.router, entries);
    }
    this.#running = this.#running.filter(({ position }) => position >= 0);
    for (const [router, entries] of byRouter) this.publish(router.incarnation, entries);
    for (const router of ended) this.#sendStatus(router);
    this.#changed();
    return true;
  }

  /** The next frame to this router, whatever it holds. */
  publish(routerIncarnation: string, entries: readonly Partial<FrameEntry>[]): void {
    const router = this.#routers.get(routerIncarnation);
    if (!router) throw new Error(`no router ${routerIncarnation}`);
    const sequence = ++router.lastFrame;
    const { group, epoch } = this;
    const whole = entries.map((entry) => FrameEntry.fromPartial(entry));
    router.kept.push(...whole);
    const frame: Frame = { group, epoch, sequence, step: this.#step, routerIncarnation, entries: whole, covers: 0 };
    router.frames?.send(frame);
    if (this.loses(sequence)) return;
    this.#options.bus.publish(frameSubject(routerIncarnation), Frame.encode(frame).finish());
  }

  /** Ends every running choice with this error, as when a rank is lost. */
  failAll(code: string, message: string): void {
    for (const router of this.#routers.values()) {
      const own = this.#running.filter((sequence) => sequence.router === router);
      if (own.length === 0) continue;
      const entries = own.map(({ submit: { requestId, attempt }, choice, position }) => ({
        ...{ requestId, attempt, choice, firstPosition: position },
        ...{ errorCode: code, errorMessage: message },
      }));
      this.publish(router.incarnation, entries);
    }
    this.#running = [];
    this.#changed();
  }

  /** Resolves when the condition holds; looked at after every message and step. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const change = Promise.withResolvers<void>();
      this.#waiting.push(change.resolve);
      await change.promise;
    }
  }

  /** Connections break and the port closes. */
  async kill(): Promise<void> {
    this.#stopTicking();
    this.#running = [];
    await this.#server?.stop();
  }

  async #serve(call: Session): Promise<void> {
    let router: FakeRouterState | undefined;
    try {
      for await (const { message } of call.requests) {
        if (message?.$case === 'hello') router = this.#onHello(call, message.value);
        else if (router) this.#onMessage(router, message);
        this.#changed();
      }
    } finally {
      if (router?.session === call) {
        router.session = undefined;
        this.#running = this.#running.filter((sequence) => sequence.router !== router);
      }
      this.#changed();
    }
  }

  /** Repeats everything that is kept, whatever the router has of it. */
  async #serveFrames({ routerIncarnation }: AttachRequest, call: RpcStreamCall<Frame>): Promise<void> {
    const router = this.#routers.get(routerIncarnation);
    if (!router) throw new TriremeError('STALE_EPOCH', `no router ${routerIncarnation}`);
    this.attachCount++;
    const { group, epoch } = this;
    const entries = router.kept;
    call.send({ group, epoch, sequence: 0, step: this.#step, routerIncarnation, entries, covers: router.lastFrame });
    router.frames = call;
    this.#changed();
    await new Promise<void>((resolve) => call.signal.addEventListener('abort', () => resolve(), { once: true }));
    if (router.frames === call) router.frames = undefined;
    this.#changed();
  }

  #onHello(call: Session, hello: { routerIncarnation: string; group: string; epoch: number }): FakeRouterState {
    if (hello.group !== this.group || hello.epoch !== this.epoch) {
      throw new TriremeError('STALE_EPOCH', `this is ${this.group} at epoch ${this.epoch}`);
    }
    const incarnation = hello.routerIncarnation;
    const router = this.#routers.get(incarnation) ?? {
      incarnation,
      frames: undefined,
      kept: [],
      session: undefined,
      lastFrame: 0,
    };
    router.session = call;
    this.#routers.set(incarnation, router);
    const value = { group: this.group, epoch: this.epoch, workerIncarnation: 'fake' };
    this.#send(router, { $case: 'welcome', value });
    this.#sendStatus(router);
    return router;
  }

  #onMessage(router: FakeRouterState, message: RouterMessage['message']): void {
    switch (message?.$case) {
      case 'submit':
        return this.#onSubmit(router, message.value);
      case 'cancel': {
        const { requestId, attempt, choices } = message.value;
        this.cancels.push(message.value);
        this.#running = this.#running.filter(
          ({ submit, choice }) =>
            submit.requestId !== requestId ||
            submit.attempt !== attempt ||
            (choices.length > 0 && !choices.includes(choice)),
        );
        return;
      }
      case 'acknowledge':
        this.acknowledges.push(message.value);
        router.kept = router.kept.filter(
          ({ requestId, attempt }) => requestId !== message.value.requestId || attempt !== message.value.attempt,
        );
        return;
    }
  }

  #onSubmit(router: FakeRouterState, submit: Submit): void {
    const { requestId, attempt } = submit;
    this.submits.push(submit);
    const refusal = this.refuse(submit);
    if (refusal) return this.#send(router, { $case: 'refused', value: { requestId, attempt, ...refusal } });
    this.#send(router, { $case: 'accepted', value: { requestId, attempt } });
    for (let choice = 0; choice < submit.n; choice++) {
      const { ids, finished } = submit.emitted[choice] ?? { ids: [], finished: false };
      if (!finished) this.#running.push({ submit, choice, router, position: ids.length });
    }
    if (this.#options.automatic ?? true) this.#run();
  }

  #run(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    const turn = (): void => {
      if (this.step()) setImmediate(turn);
      else this.#stepping = false;
    };
    setImmediate(turn);
  }

  /** position -1 marks an ended sequence. */
  #advance(sequence: FakeSequence): FrameEntry {
    const { submit, choice, position } = sequence;
    const { requestId, attempt, sampling } = submit;
    const token = (this.#options.tokens ?? makeUp)(submit, choice, position);
    const isLast = position + 1 === sampling?.maxTokens;
    sequence.position = token === undefined || isLast ? -1 : position + 1;
    const logprobs = token !== undefined && sampling?.logprobs !== undefined ? [logprobOf(token)] : [];
    return FrameEntry.fromPartial({
      ...{ requestId, attempt, choice, firstPosition: position, logprobs },
      tokenIds: token === undefined ? [] : [token],
      ...(token === undefined ? { finishReason: FinishReason.FINISH_REASON_STOP } : {}),
      ...(isLast ? { finishReason: FinishReason.FINISH_REASON_LENGTH } : {}),
    });
  }

  #sendStatus(router: FakeRouterState): void {
    const { maxSequences = 64 } = this.#options;
    const running = this.#running.length;
    const engine = EngineStatus.fromPartial({
      ...{ step: this.#step, running: Math.min(running, maxSequences), waiting: Math.max(0, running - maxSequences) },
      freeSequences: Math.max(0, maxSequences - running),
    });
    this.#send(router, {
      $case: 'status',
      value: { epoch: this.epoch, lastFrame: router.lastFrame, engine, busLost: false },
    });
  }

  #send(router: FakeRouterState, message: NonNullable<LeaderMessage['message']>): void {
    if (!this.mute) router.session?.send({ message });
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** Any id of the demo model's vocabulary above its special tokens; depends on prompt, choice and position. */
export function makeUp({ prompt }: Submit, choice: number, position: number): number {
  const seed = prompt.reduce((sum, id) => (sum * 31 + id) % 65_521, 7);
  return 7 + ((seed + 101 * choice + 37 * position) % 2041);
}

export function logprobOf(token: number): TokenLogprobs {
  return { logprob: -token, top: [{ tokenId: token, logprob: -token }] };
}
