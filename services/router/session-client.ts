/** The wire of one session: connects, says Hello, and reports Welcome, messages and the end. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { BidiStream, Dial, RpcConnection } from '#platform/rpc.ts';
import { EngineStatus } from '#proto/control.ts';
import {
  type AttachRequest,
  type Frame,
  type LeaderMessage,
  type LeaderStatus,
  type RouterMessage,
  WorkerService,
} from '#proto/worker.ts';

export interface SessionEvents {
  /** Once, after Welcome and the first status. */
  onOpened(status: { readonly lastFrame: number; readonly engine: EngineStatus }): void;
  /** Between opening and end. */
  onMessage(message: LeaderMessage['message']): void;
  onAttachedFrame(frame: Frame): void;
  /** Not after detach() or close(). */
  onAttachEnded(error: TriremeError): void;
  /** Once, also when the session never opened; not after close(). */
  onEnded(error: TriremeError): void;
}

export interface SessionOptions {
  /** host:port of the leader. */
  readonly address: string;
  readonly group: string;
  readonly epoch: number;
  readonly routerIncarnation: string;
  readonly helloTimeout: number;
  readonly clock: Clock;
  readonly dial: Dial;
  readonly events: SessionEvents;
}

type State = 'greeting' | 'welcomed' | 'open' | 'over';

export class SessionClient {
  #state: State = 'greeting';
  #attachment: AbortController | undefined;
  readonly #client: RpcConnection;
  readonly #stream: BidiStream<RouterMessage>;
  readonly #options: SessionOptions;
  readonly #cancelTimeout: () => void;

  constructor(options: SessionOptions) {
    const { address, group, epoch, routerIncarnation, helloTimeout, clock, dial } = options;
    this.#options = options;
    this.#client = dial(address);
    this.#stream = this.#client.bidi(WorkerService.session, {
      onMessage: ({ message }) => this.#onMessage(message),
      onEnd: (error) => this.#becomeOver(error ?? new TriremeError('UNAVAILABLE', `${address} ended the session`)),
    });
    this.#cancelTimeout = clock.after(helloTimeout, () =>
      this.#becomeOver(
        new TriremeError('UNAVAILABLE', `${address} did not welcome the router within ${helloTimeout} ms`),
      ),
    );
    this.#stream.send({ message: { $case: 'hello', value: { routerIncarnation, group, epoch } } });
  }

  send(message: NonNullable<RouterMessage['message']>): void {
    if (this.#state === 'open') this.#stream.send({ message });
  }

  /** Frames come by a call of their own from now on, until detach(). */
  attach(request: AttachRequest): void {
    this.detach();
    const attachment = new AbortController();
    this.#attachment = attachment;
    void this.#passFrames(request, attachment.signal);
  }

  /** Idempotent. */
  detach(): void {
    this.#attachment?.abort();
    this.#attachment = undefined;
  }

  /** Ends it without a further event. Idempotent. */
  close(): void {
    this.#state = 'over';
    this.detach();
    this.#cancelTimeout();
    this.#client.close();
  }

  async #passFrames(request: AttachRequest, signal: AbortSignal): Promise<void> {
    const { onAttachedFrame, onAttachEnded } = this.#options.events;
    let failure: unknown;
    try {
      for await (const frame of this.#client.serverStream(WorkerService.attach, request, { signal })) {
        if (signal.aborted) return;
        onAttachedFrame(frame);
      }
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    onAttachEnded(TriremeError.from(failure ?? new TriremeError('UNAVAILABLE', 'the leader ended it')));
  }

  #onMessage(message: LeaderMessage['message']): void {
    switch (this.#state) {
      case 'greeting':
        return this.#becomeWelcomed(message);
      case 'welcomed':
        if (message?.$case === 'status') return this.#becomeOpen(message.value);
        return this.#becomeOver(this.#confused('a status'));
      case 'open':
        return this.#options.events.onMessage(message);
      case 'over':
        return;
    }
  }

  #becomeWelcomed(message: LeaderMessage['message']): void {
    const { group, epoch } = this.#options;
    const isExpected = message?.$case === 'welcome' && message.value.group === group && message.value.epoch === epoch;
    if (isExpected) this.#state = 'welcomed';
    else this.#becomeOver(this.#confused(`a welcome to group ${group} at epoch ${epoch}`));
  }

  #becomeOpen({ lastFrame, engine }: LeaderStatus): void {
    this.#cancelTimeout();
    this.#state = 'open';
    this.#options.events.onOpened({ lastFrame, engine: engine ?? EngineStatus.fromPartial({}) });
  }

  #becomeOver(error: TriremeError): void {
    if (this.#state === 'over') return;
    this.close();
    this.#options.events.onEnded(error);
  }

  #confused(expected: string): TriremeError {
    return new TriremeError('UNAVAILABLE', `${this.#options.address} sent something else than ${expected}`);
  }
}
