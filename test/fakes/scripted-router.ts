/** A router's side of one session and its frames, driven message by message. */
import type { Bus } from '#platform/bus.ts';
import type { TriremeError } from '#platform/errors.ts';
import { type BidiStream, createRpcClient, type RpcClient } from '#platform/rpc.ts';
import { frameSubject } from '#proto/keys.ts';
import {
  type Accepted,
  Frame,
  type FrameEntry,
  type LeaderMessage,
  type LeaderStatus,
  type Refused,
  type RouterMessage,
  Submit,
  WorkerService,
} from '#proto/worker.ts';

export class ScriptedRouter {
  readonly incarnation: string;
  readonly messages: LeaderMessage['message'][] = [];
  readonly frames: Frame[] = [];
  /** Undefined while the session runs; null when it ended with OK. */
  ended: TriremeError | null | undefined;
  readonly #client: RpcClient;
  readonly #stream: BidiStream<RouterMessage>;
  readonly #closeFrames: () => void;
  #waiting: (() => void)[] = [];

  constructor(address: string, bus: Bus, incarnation: string) {
    this.incarnation = incarnation;
    const subscription = bus.subscribe(frameSubject(incarnation), (payload) => {
      this.frames.push(Frame.decode(payload));
      this.#changed();
    });
    this.#closeFrames = () => subscription.close();
    this.#client = createRpcClient(address);
    this.#stream = this.#client.bidi(WorkerService.session, {
      onMessage: ({ message }) => {
        this.messages.push(message);
        this.#changed();
      },
      onEnd: (error) => {
        this.ended = error ?? null;
        this.#changed();
      },
    });
  }

  get accepted(): Accepted[] {
    return this.messages.flatMap((message) => (message?.$case === 'accepted' ? [message.value] : []));
  }

  get refused(): Refused[] {
    return this.messages.flatMap((message) => (message?.$case === 'refused' ? [message.value] : []));
  }

  get statuses(): LeaderStatus[] {
    return this.messages.flatMap((message) => (message?.$case === 'status' ? [message.value] : []));
  }

  get entries(): FrameEntry[] {
    return this.frames.flatMap(({ entries }) => entries);
  }

  send(message: RouterMessage['message']): void {
    this.#stream.send({ message });
  }

  hello(group: string, epoch: number): void {
    this.send({ $case: 'hello', value: { routerIncarnation: this.incarnation, group, epoch } });
  }

  submit(submit: Partial<Submit>): void {
    this.send({ $case: 'submit', value: Submit.fromPartial({ attempt: 1, n: 1, ...submit }) });
  }

  /** Resolves when the condition holds; looked at after every message, frame and the end. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const change = Promise.withResolvers<void>();
      this.#waiting.push(change.resolve);
      await change.promise;
    }
  }

  async welcome(): Promise<void> {
    await this.until(() => this.messages[0]?.$case === 'welcome' && this.messages.length > 1);
  }

  /** Goes away as a process that dies does. */
  break(): void {
    this.#closeFrames();
    this.#client.close();
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
