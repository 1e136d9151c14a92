/** What an operator may set of a router, and every limit with what happens when it is hit. Times are in milliseconds. */
import { byteSize, type ConfigOf, durationMs, integer, listenAddress, loadConfig, oneOf } from '#platform/config.ts';

export const routerFields = {
  listen: listenAddress({ default: '127.0.0.1:9010', help: 'where clients connect; port 0 takes any free port' }),
  policy: oneOf(['least-loaded', 'round-robin'], { default: 'least-loaded', help: 'how a group is picked' }),
  maxActiveRequests: integer({ default: 1024, min: 1, help: 'requests that run at groups; more wait in the queue' }),
  maxQueuedRequests: integer({ default: 1024, help: 'requests that wait for a group; one more gets NO_ROOM' }),
  maxQueueWait: durationMs({
    default: 30_000,
    help: 'how long one waits: NO_ROOM then, UNAVAILABLE with no group ready',
  }),
  maxMessage: byteSize({
    default: 4 << 20,
    min: 1024,
    help: 'longest message of a client; a longer one gets MESSAGE_TOO_LARGE',
  }),
  maxUnreadMessages: integer({
    default: 1024,
    min: 1,
    help: 'messages of one stream that wait for its client; one more ends the stream with SLOW_CONSUMER',
  }),
  maxChoices: integer({ default: 128, min: 1, help: 'choices of one request (n); more get INVALID_ARGUMENT' }),
  frameGrace: durationMs({
    default: 100,
    help: 'how long a missing frame may be late; then the leader is asked for it over gRPC',
  }),
  gapLimit: durationMs({
    default: 2000,
    help: 'how long a missing frame may be sought; then the requests it may have been for move to another group',
  }),
  maxMoves: integer({
    default: 16,
    help: 'how often a request may move to another group; one more move ends it with MOVES_EXHAUSTED',
  }),
  maxMoveWait: durationMs({
    default: 120_000,
    help: 'how long one that has lost its group waits for another: NO_ROOM then, UNAVAILABLE with no group ready',
  }),
  silenceLimit: durationMs({ default: 1000, min: 300, help: 'a leader that says nothing for so long is dead' }),
  stallLimit: durationMs({
    default: 2000,
    min: 100,
    help: 'shortest time after which a step that does not end is dead',
  }),
  stallSteps: integer({ default: 10, min: 1, help: 'a step is dead after so many times the usual step' }),
  firstStepLimit: durationMs({ default: 10_000, min: 100, help: 'the same before it is known how long a step takes' }),
  answerLimit: durationMs({
    default: 30_000,
    min: 100,
    help: 'how long a leader may leave a submit unanswered; then the request moves to another group',
  }),
  helloTimeout: durationMs({ default: 2000, min: 100, help: 'how long a leader may take to welcome the router' }),
  maxReconnectPause: durationMs({ default: 2000, min: 100, help: 'longest pause between attempts to reach a leader' }),
  drain: durationMs({ default: 30_000, help: 'how long a drain waits for running requests' }),
} as const;

export type RouterConfig = ConfigOf<typeof routerFields>;

/** What the core needs to know of it. */
export type RouterLimits = Pick<
  RouterConfig,
  | 'maxActiveRequests'
  | 'maxQueuedRequests'
  | 'maxQueueWait'
  | 'frameGrace'
  | 'gapLimit'
  | 'maxMoves'
  | 'maxMoveWait'
  | 'silenceLimit'
  | 'stallLimit'
  | 'stallSteps'
  | 'firstStepLimit'
  | 'answerLimit'
>;

export const defaultConfig: RouterConfig = loadConfig(routerFields, { argv: [], env: {} });
