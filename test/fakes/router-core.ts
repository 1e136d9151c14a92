/** The router's core on its own: requests of plain letters, sessions by hand, actions as lines of text. */
import { TriremeError } from '#platform/errors.ts';
import { EngineStatus } from '#proto/control.ts';
import { FinishReason, SamplingParams } from '#proto/inference.ts';
import { GroupRecord, GroupState, type ModelRecord } from '#proto/records.ts';
import { Frame, FrameEntry, type LeaderMessage, type Submit } from '#proto/worker.ts';
import { StopStrings } from '#tokenizer/stop-matcher.ts';
import { ChoiceReply } from '../../services/router/choice-reply.ts';
import { defaultConfig, type RouterConfig } from '../../services/router/config.ts';
import type { RoutedRequest, RouterAction, RouterEvent } from '../../services/router/events.ts';
import type { FleetView } from '../../services/router/fleet.ts';
import { LeastLoaded } from '../../services/router/policies/least-loaded.ts';
import { Router } from '../../services/router/router.ts';

export const routerIncarnation = 'r1';

export class FakeFleetView implements FleetView {
  readonly groups = new Map<string, GroupRecord>();

  put(group: string, epoch: number, record: Partial<GroupRecord> = {}): void {
    const serving = { kvBlocks: 64, maxSequences: 4, stepTokens: 64, maxWaiting: 0 };
    const state = GroupState.GROUP_STATE_READY;
    this.groups.set(group, GroupRecord.fromPartial({ group, epoch, model: 'm', state, serving, ...record }));
  }

  model(): ModelRecord | undefined {
    return undefined;
  }

  group(name: string): GroupRecord | undefined {
    return this.groups.get(name);
  }

  isReady(group: string, epoch: number): boolean {
    const record = this.groups.get(group);
    return record?.epoch === epoch && record.state === GroupState.GROUP_STATE_READY;
  }
}

export interface RequestOptions {
  readonly model?: string;
  readonly n?: number;
  readonly stop?: readonly string[];
  readonly minTokens?: number;
}

/** Token ids are code points, and the text is what they spell. */
export function letters(id: string, options: RequestOptions = {}): RoutedRequest {
  const { model = 'm', n = 1, stop = [], minTokens = 0 } = options;
  const stops = stop.length > 0 ? new StopStrings(stop) : undefined;
  const detokenizer = { push: (token: number) => String.fromCodePoint(token), end: () => '' };
  const callIdPrefix = `${id}:`;
  const replies = Array.from({ length: n }, () => new ChoiceReply({ detokenizer, stops, minTokens, callIdPrefix }));
  return {
    id,
    model,
    prompt: [1, 2, 3],
    sampling: SamplingParams.fromPartial({ seed: '7' }),
    adapter: '',
    pooling: 0,
    replies,
    received: [],
    streamDigest: '',
  };
}

/** Tokens that spell the text. */
export function spell(text: string): number[] {
  return [...text].map((character) => character.codePointAt(0)!);
}

export class CoreBench {
  readonly fleet = new FakeFleetView();
  readonly router: Router;
  nowMs = 0;
  readonly #groups = new Map<number, string>();

  constructor(limits: Partial<RouterConfig> = {}) {
    const policy = new LeastLoaded();
    const { fleet } = this;
    this.router = new Router({
      incarnation: routerIncarnation,
      limits: { ...defaultConfig, ...limits },
      fleet,
      policy,
    });
  }

  step(event: RouterEvent): readonly RouterAction[] {
    return this.router.step(event, this.nowMs);
  }

  request(id: string, options?: RequestOptions): string[] {
    return show(this.step({ kind: 'request', request: letters(id, options) }));
  }

  abandon(requestId: string): string[] {
    const error = new TriremeError('CANCELLED', 'gone');
    return show(this.step({ kind: 'abandon', requestId, error }));
  }

  /** A group and a session with its leader. */
  open(session: number, group: string, { epoch = 1, lastFrame = 0 } = {}): string[] {
    if (this.fleet.group(group)?.epoch !== epoch) this.fleet.put(group, epoch);
    this.#groups.set(session, group);
    const engine = EngineStatus.fromPartial({ freeSequences: 4 });
    return show(this.step({ kind: 'session-opened', session, group, epoch, lastFrame, engine }));
  }

  message(session: number, message: LeaderMessage['message']): string[] {
    return show(this.step({ kind: 'session-message', session, message }));
  }

  accepted(session: number, requestId: string, attempt = 1): string[] {
    return this.message(session, { $case: 'accepted', value: { requestId, attempt } });
  }

  refused(session: number, requestId: string, code: string, attempt = 1): string[] {
    return this.message(session, { $case: 'refused', value: { requestId, attempt, code, message: `it is ${code}` } });
  }

  status(session: number, lastFrame: number, engine: Partial<EngineStatus> = {}, { busLost = false } = {}): string[] {
    const value = { epoch: 1, lastFrame, engine: EngineStatus.fromPartial(engine), busLost };
    return this.message(session, { $case: 'status', value });
  }

  ended(session: number, { planned = false } = {}): string[] {
    const error = new TriremeError('UNAVAILABLE', 'broken pipe');
    return show(this.step({ kind: 'session-ended', session, error, planned }));
  }

  frame(group: string, sequence: number, ...entries: Partial<FrameEntry>[]): string[] {
    return this.frameOf({ group, sequence }, ...entries);
  }

  frameOf(frame: Partial<Frame>, ...entries: Partial<FrameEntry>[]): string[] {
    return show(this.step({ kind: 'frame', frame: wholeFrame(frame, entries) }));
  }

  /** Over gRPC; of the session's group. */
  attached(session: number, frame: Partial<Frame>, ...entries: Partial<FrameEntry>[]): string[] {
    const group = this.#groups.get(session) ?? '';
    return show(this.step({ kind: 'attached-frame', session, frame: wholeFrame({ group, ...frame }, entries) }));
  }

  bus(connected: boolean): string[] {
    return show(this.step({ kind: 'bus', connected }));
  }

  /** Without time passing. */
  tick(): string[] {
    return show(this.step({ kind: 'tick' }));
  }

  /** Ticks every 100 ms. */
  wait(ms: number): string[] {
    const lines: string[] = [];
    for (let waited = 0; waited < ms; waited += 100) {
      this.nowMs += 100;
      lines.push(...show(this.step({ kind: 'tick' })));
    }
    return lines;
  }

  /** Nothing is left of any request. */
  get isIdle(): boolean {
    const { activeCount, queuedCount, requestCount } = this.router;
    return activeCount === 0 && queuedCount === 0 && requestCount === 0;
  }
}

function wholeFrame(frame: Partial<Frame>, entries: readonly Partial<FrameEntry>[]): Frame {
  const whole = entries.map((entry) => FrameEntry.fromPartial({ attempt: 1, ...entry }));
  return { ...Frame.fromPartial({ epoch: 1, routerIncarnation, ...frame }), entries: whole };
}

export function entry(requestId: string, firstPosition: number, text: string, rest: Partial<FrameEntry> = {}) {
  return { requestId, firstPosition, tokenIds: spell(text), ...rest };
}

export const stop = { finishReason: FinishReason.FINISH_REASON_STOP };
export const length = { finishReason: FinishReason.FINISH_REASON_LENGTH };

/** One line for each action. */
export function show(actions: readonly RouterAction[]): string[] {
  return actions.map(showAction);
}

function showAction(action: RouterAction): string {
  switch (action.kind) {
    case 'send':
      return `send ${action.session} ${showMessage(action.message)}`;
    case 'deliver': {
      const { choices, usage } = action.response;
      const shown = choices.map(({ index, firstPosition, tokenIds, text, finishReason }) => {
        const end =
          finishReason === undefined ? '' : finishReason === FinishReason.FINISH_REASON_STOP ? ' stop' : ' length';
        return `${index}@${firstPosition}+${tokenIds.length} ${JSON.stringify(text)}${end}`;
      });
      const used = usage ? `, usage ${usage.promptTokens}+${usage.completionTokens}` : '';
      return `deliver ${action.requestId} ${shown.join(', ')}${used}`;
    }
    case 'end':
      return `end ${action.requestId} ${action.error ? `${action.error.code}: ${action.error.message}` : 'OK'}`;
    case 'attach':
      return `attach ${action.session} ${action.request.attempts.map(({ requestId, attempt, from }) => `${requestId}#${attempt}@${from.join(',')}`).join(' ')}`;
    case 'detach':
      return `detach ${action.session}`;
    case 'close-session':
      return `close ${action.session}: ${action.error.message}`;
  }
}

function showSubmit({ requestId, attempt, n, epoch, emitted }: Submit): string {
  const before = emitted.map(({ ids, finished }) => `${ids.length}${finished ? '.' : ''}`).join(',');
  return `submit ${requestId}#${attempt} n=${n} epoch=${epoch}${before === '' ? '' : ` emitted=${before}`}`;
}

function showMessage(message: Extract<RouterAction, { kind: 'send' }>['message']): string {
  switch (message.$case) {
    case 'hello':
      return 'hello';
    case 'submit':
      return showSubmit(message.value);
    case 'cancel':
      return `cancel ${message.value.requestId}#${message.value.attempt} [${message.value.choices.join(',')}]`;
    case 'acknowledge':
      return `acknowledge ${message.value.requestId}#${message.value.attempt}`;
  }
}
