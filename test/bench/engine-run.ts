/**
 * One measurement of the bare engine, in a process of its own: a team of ranks in threads, no network.
 *   node test/bench/engine-run.ts --package DIR --batches 1,4,8 [--prefill 512] [--steps 48] [--prompt 128] [--same-prompt]
 * Prints one line of JSON. Every sequence has its own random prompt, unless they shall all have the same one, and feeds on its
 * own greedy tokens.
 */
import { parseArgs } from 'node:util';
import { Pooling } from '../../proto/gen/inference.ts';
import type { EngineReport } from '../../proto/gen/rank.ts';
import { createLogger } from '../../services/platform/log.ts';
import { readManifest } from '../../workers/rank/package.ts';
import { startTeam } from '../../workers/rank/team.ts';
import type { Team } from '../../workers/rank/team-port.ts';

export interface EngineRun {
  readonly ranks: number;
  /** Decode tokens/s by batch. */
  readonly decode: Readonly<Record<string, number>>;
  /** Prompt tokens/s. */
  readonly prefill: number | undefined;
}

const firstSeed = 12345;
const sampling = { temperature: 0, logitBias: [], stop: [], stopTokenIds: [], ignoreEos: true };

class EngineBench {
  readonly #vocabulary: number;
  readonly #promptTokens: number;
  readonly #samePrompt: boolean;
  #team!: Team;
  #onReport: (report: EngineReport) => void = () => {};
  #requests = 0;
  #random = firstSeed;

  constructor(options: { vocabulary: number; promptTokens: number; samePrompt: boolean }) {
    this.#vocabulary = options.vocabulary;
    this.#promptTokens = options.promptTokens;
    this.#samePrompt = options.samePrompt;
  }

  async open(packagePath: string, ranks: number): Promise<void> {
    this.#team = await startTeam({
      packagePath,
      ranks,
      localRanks: Array.from({ length: ranks }, (_, rank) => rank),
      serving: { kvBlocks: 1024, maxSequences: 32, stepTokens: 512, maxWaiting: 64, adapters: undefined },
      events: {
        onProgress: () => {},
        onReport: (report) => this.#onReport(report),
        onExit: (error) => fail(error),
        onStuck: (error) => fail(error),
      },
      log: createLogger('warn'),
    });
  }

  close(): Promise<void> {
    return this.#team.stop();
  }

  /** Tokens/s over the steps in which all sequences decode. */
  decode(batch: number, steps: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const warmSteps = 4;
    let fullSteps = 0;
    let startMs = 0;
    let ended = 0;
    let speed = 0;
    this.#onReport = ({ entries }) => {
      ended += entries.filter(({ entry }) => entry?.finishReason !== undefined).length;
      if (entries.length === batch) fullSteps++;
      if (fullSteps === warmSteps && startMs === 0) startMs = performance.now();
      if (fullSteps === warmSteps + steps && speed === 0)
        speed = (batch * steps * 1000) / (performance.now() - startMs);
      if (ended === batch) resolve(speed);
    };
    for (let i = 0; i < batch; i++) this.#submit(this.#promptTokens, steps + warmSteps + batch + 2);
    return promise;
  }

  /** Prompt tokens/s of one prompt, to its first token. */
  prefill(length: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const startMs = performance.now();
    this.#onReport = ({ entries }) => {
      if (entries.length > 0) resolve((length * 1000) / (performance.now() - startMs));
    };
    this.#submit(length, 1);
    return promise;
  }

  #submit(length: number, maxTokens: number): void {
    if (this.#samePrompt) this.#random = firstSeed;
    const submit = {
      requestId: `r${this.#requests++}`,
      attempt: 1,
      prompt: Array.from({ length }, () => this.#draw()),
      emitted: [],
      sampling: { ...sampling, maxTokens },
      n: 1,
      epoch: 1,
      adapter: '',
      pooling: Pooling.POOLING_UNSPECIFIED,
    };
    if (!this.#team.send({ command: { $case: 'submit', value: { owner: 1, submit } } }))
      fail(new Error('the ring is full'));
  }

  #draw(): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return this.#random % this.#vocabulary;
  }
}

function fail(error: Error): never {
  console.error(error.message);
  process.exit(1);
}

const { values } = parseArgs({
  options: {
    package: { type: 'string' },
    batches: { type: 'string', default: '1,4,8,16,32' },
    prefill: { type: 'string' },
    steps: { type: 'string', default: '48' },
    prompt: { type: 'string', default: '128' },
    'same-prompt': { type: 'boolean', default: false },
  },
});
if (!values.package) fail(new Error('usage: engine-run.ts --package DIR'));
const manifest = readManifest(values.package);
const bench = new EngineBench({
  vocabulary: manifest.spec.vocabularySize,
  promptTokens: Number(values.prompt),
  samePrompt: values['same-prompt'],
});
await bench.open(values.package, manifest.shards.length);
const decode: Record<string, number> = {};
for (const batch of values.batches.split(',')) decode[batch] = await bench.decode(Number(batch), Number(values.steps));
const prefill = values.prefill ? await bench.prefill(Number(values.prefill)) : undefined;
await bench.close();
console.log(JSON.stringify({ ranks: manifest.shards.length, decode, prefill } satisfies EngineRun));
