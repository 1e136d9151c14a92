import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import type { Frame } from '#proto/worker.ts';
import { FaultyLeader, fullText } from '../../test/fakes/faulty-leader.ts';
import { CoreBench, letters } from '../../test/fakes/router-core.ts';
import type { RouterAction } from './events.ts';

const stopString = 'ca';

type Operation =
  | { readonly kind: 'request'; readonly n: number; readonly stops: boolean }
  | { readonly kind: 'abandon' | 'refuse' | 'frame' | 'frame-twice' | 'lose-frame'; readonly which: number }
  | {
      readonly kind: 'read' | 'answer' | 'status' | 'step' | 'fail' | 'break' | 'open' | 'reform';
      readonly leader: number;
    }
  | { readonly kind: 'wait'; readonly ticks: number };

const leaderIndex = fc.nat(1);
const which = fc.nat(50);
const often = 8;
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('request'), n: fc.integer({ min: 1, max: 3 }), stops: fc.boolean() }),
  },
  { weight: often, arbitrary: fc.record({ kind: fc.constantFrom('read', 'answer', 'step'), leader: leaderIndex }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('frame'), which }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('frame-twice', 'lose-frame', 'abandon', 'refuse'), which }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('status', 'open'), leader: leaderIndex }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('break', 'reform', 'fail'), leader: leaderIndex }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait'), ticks: fc.integer({ min: 1, max: 7 }) }) },
);

/** What a client has of one request. */
interface Received {
  readonly n: number;
  readonly stops: boolean;
  readonly tokens: number[][];
  readonly texts: string[];
  readonly finishes: number[];
  end: RouterAction | undefined;
}

class World {
  readonly bench = new CoreBench({ maxQueuedRequests: 4, maxActiveRequests: 6, maxQueueWait: 5000 });
  readonly received = new Map<string, Received>();
  readonly frames: Frame[] = [];
  readonly leaders = [new FaultyLeader('g', this.frames), new FaultyLeader('h', this.frames)];
  #nextSession = 1;

  run(operation: Operation): void {
    switch (operation.kind) {
      case 'request':
        return this.#request(operation.n, operation.stops);
      case 'abandon': {
        const ids = [...this.received.keys()];
        const requestId = ids[operation.which % Math.max(1, ids.length)];
        if (requestId === undefined) return;
        return this.#perform(
          this.bench.step({ kind: 'abandon', requestId, error: new TriremeError('CANCELLED', 'gone') }),
        );
      }
      case 'refuse':
        this.leaders[operation.which % 2]!.refusal = operation.which % 3 === 0 ? 'INVALID_ARGUMENT' : 'NO_ROOM';
        return;
      case 'frame':
      case 'frame-twice':
        return this.#deliverFrame(operation.which, operation.kind === 'frame-twice');
      case 'lose-frame':
        this.frames.splice(operation.which % Math.max(1, this.frames.length), 1);
        return;
      case 'wait':
        for (let i = 0; i < operation.ticks; i++) this.#tick();
        return;
      default:
        return this.#atLeader(operation.kind, this.leaders[operation.leader]!);
    }
  }

  /** Everything under way arrives, leaders behave from now on; requests that go on do so to their end. */
  settle(): void {
    while (this.frames.length > 0) this.#deliverFrame(0, false);
    for (let round = 0; round < 200 && !(this.bench.isIdle && this.leaders.every(({ isIdle }) => isIdle)); round++) {
      for (const leader of this.leaders) {
        leader.refusal = undefined;
        for (const kind of ['open', 'read', 'read', 'step', 'status', 'answer', 'answer', 'answer'] as const) {
          this.#atLeader(kind, leader);
        }
      }
      while (this.frames.length > 0) this.#deliverFrame(0, false);
      this.#tick();
    }
  }

  #request(n: number, stops: boolean): void {
    const id = `request ${this.received.size}`;
    const lists = () => Array.from({ length: n }, () => []);
    this.received.set(id, {
      n,
      stops,
      tokens: lists(),
      texts: Array(n).fill(''),
      finishes: Array(n).fill(0),
      end: undefined,
    });
    this.#perform(this.bench.step({ kind: 'request', request: letters(id, { n, stop: stops ? [stopString] : [] }) }));
  }

  #deliverFrame(which: number, keeps: boolean): void {
    const index = which % Math.max(1, this.frames.length);
    const frame = this.frames[index];
    if (!frame) return;
    if (!keeps) this.frames.splice(index, 1);
    this.#perform(this.bench.step({ kind: 'frame', frame }));
  }

  #tick(): void {
    this.bench.nowMs += 100;
    this.#perform(this.bench.step({ kind: 'tick' }));
  }

  #atLeader(kind: Extract<Operation, { leader: number }>['kind'], leader: FaultyLeader): void {
    const { session } = leader;
    if (session === undefined) {
      if (kind === 'open' || kind === 'reform')
        this.#perform(leader.open(this.bench, this.#nextSession++, kind === 'reform'));
      return;
    }
    switch (kind) {
      case 'open':
        return;
      case 'read':
        return leader.read();
      case 'status':
        return leader.sendStatus();
      case 'step':
      case 'fail':
        return leader.step(kind === 'fail');
      case 'answer': {
        const message = leader.takeMessage();
        if (message) this.#perform(this.bench.step({ kind: 'session-message', session, message }));
        return;
      }
      case 'break':
      case 'reform':
        leader.breakOff();
        this.#perform(
          this.bench.step({
            ...{ kind: 'session-ended', session, planned: false },
            error: new TriremeError('UNAVAILABLE', 'broken'),
          }),
        );
        if (kind === 'reform') this.#perform(leader.open(this.bench, this.#nextSession++, true));
        return;
    }
  }

  #perform(actions: readonly RouterAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case 'send':
          this.leaders.find(({ session }) => session === action.session)?.receive(action.message);
          break;
        case 'close-session':
          this.leaders.find(({ session }) => session === action.session)?.breakOff();
          break;
        case 'deliver':
          this.#onDeliver(action);
          break;
        case 'end': {
          const request = this.received.get(action.requestId)!;
          expect(request.end, 'a request ends once').toBeUndefined();
          request.end = action;
        }
      }
    }
  }

  #onDeliver({ requestId, response }: Extract<RouterAction, { kind: 'deliver' }>): void {
    const request = this.received.get(requestId)!;
    expect(request.end, 'nothing comes after the end').toBeUndefined();
    expect(response.choices.length, 'no message is empty').toBeGreaterThan(0);
    for (const { index, firstPosition, tokenIds, text, finishReason } of response.choices) {
      expect(request.finishes[index], 'a choice ends once').toBe(0);
      expect(firstPosition, 'positions follow on').toBe(request.tokens[index]!.length);
      request.tokens[index]!.push(...tokenIds);
      request.texts[index] += text;
      if (finishReason !== undefined) request.finishes[index]!++;
    }
    const total = request.tokens.reduce((sum, { length }) => sum + length, 0);
    const isLast = request.finishes.every((count) => count === 1);
    expect(response.usage?.completionTokens).toBe(isLast ? total : undefined);
  }
}

function checkReceived(id: string, { n, stops, tokens, texts, finishes, end }: Received): void {
  const isComplete = end?.kind === 'end' && end.error === undefined;
  for (let choice = 0; choice < n; choice++) {
    const full = fullText(id, choice);
    const match = stops ? full.indexOf(stopString) : -1;
    const wanted = match < 0 ? full : full.slice(0, match + stopString.length);
    const spelled = String.fromCharCode(...tokens[choice]!);
    const shown = match < 0 ? full : full.slice(0, match);
    if (isComplete) expect([spelled, texts[choice], finishes[choice]]).toEqual([wanted, shown, 1]);
    else expect([wanted.startsWith(spelled), shown.startsWith(texts[choice]!)]).toEqual([true, true]);
  }
}

test('whatever leaders and networks do, tokens come once and in order, requests end once, and nothing is left', () => {
  let completed = 0;
  fc.assert(
    fc.property(fc.array(operation, { minLength: 20, maxLength: 150 }), (operations) => {
      const world = new World();
      for (const each of operations) world.run(each);
      world.settle();
      expect(world.bench.isIdle, 'the router is idle').toBe(true);
      expect(
        world.leaders.map(({ isIdle }) => isIdle),
        'the leaders keep nothing',
      ).toEqual([true, true]);
      for (const [id, request] of world.received) {
        expect(request.end, 'a request ends').toBeDefined();
        if (request.end?.kind === 'end' && !request.end.error) completed++;
        checkReceived(id, request);
      }
    }),
    { numRuns: 3000 },
  );
  expect(completed, 'not all ended by a fault').toBeGreaterThan(1000);
});
