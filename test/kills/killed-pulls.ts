/**
 * Pulls in real processes that are killed or interrupted at points drawn from a seed, and then run to the end. Whatever has its name in the
 * cache at any time is what it is in the end.
 */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { bytesOf, contentsOf } from '../fakes/hub-rig.ts';
import { type FakeModel, HubServer } from '../fakes/hub-server.ts';
import { temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import {
  anyKill,
  endOf,
  type Kill,
  type KilledEnd,
  type KillOutcome,
  type Profile,
  type Program,
  profileOf,
  programOf,
  runKilled,
  start,
} from './killed-process.ts';

const model: FakeModel = {
  repo: 'acme/killed',
  files: {
    'config.json': bytesOf('config', 500),
    'model-1.safetensors': bytesOf('one', 1_500_000),
    'model-2.safetensors': bytesOf('two', 700_001),
    'model-3.safetensors': bytesOf('three', 64 << 10),
    'tokenizer.json': bytesOf('tokenizer', 40_000),
  },
};
const modelBytes = Object.values(model.files).reduce((sum, { length }) => sum + length, 0);

/** bytes: as soon as the server has sent this share of all bytes to this process. */
type PullKill = Kill | (Omit<Kill, 'at'> & { readonly at: 'bytes' });

const pullKill: fc.Arbitrary<PullKill> = fc.oneof(
  anyKill,
  anyKill.map((kill) => ({ ...kill, at: 'bytes' }) as const),
);

export const pullStages = ['nothing', 'parts of files', 'whole files', 'all of it'] as const;
type PullStage = (typeof pullStages)[number];

export interface KilledPull {
  readonly kills: readonly KillOutcome<PullStage, PullKill>[];
  /** What was not as it should be. */
  readonly failures: readonly string[];
}

/** As many as there are to be, each stopped up to three times. */
export async function killedPulls(seed: number, count: number): Promise<readonly KilledPull[]> {
  await using server = await HubServer.start([model]);
  const scenarios = fc.sample(fc.array(pullKill, { minLength: 1, maxLength: 3 }), { seed, numRuns: count });
  await using folder = await temporaryFolder();
  const profile = await profileOf(programFor(server, folder.path));
  const whole = await contentsOf(folder.path);
  const pulls: KilledPull[] = [];
  for (const kills of scenarios) pulls.push(await new PullTrial(server, profile, whole).run(kills));
  return pulls;
}

function programFor(server: HubServer, cache: string): Program {
  return programOf('pull-process.ts', server.endpoint, cache, model.repo);
}

class PullTrial {
  readonly #server: HubServer;
  readonly #profile: Profile;
  readonly #whole: Record<string, string>;
  readonly #failures: string[] = [];

  constructor(server: HubServer, profile: Profile, whole: Record<string, string>) {
    this.#server = server;
    this.#profile = profile;
    this.#whole = whole;
  }

  async run(kills: readonly PullKill[]): Promise<KilledPull> {
    await using folder = await temporaryFolder();
    const cache = path.join(folder.path, 'hub');
    const program = programFor(this.#server, cache);
    const outcomes = [];
    for (const kill of kills) {
      const end = await this.#stop(program, kill);
      outcomes.push({ kill, end, stage: this.#look(await contentsOf(cache)) });
    }
    const end = await endOf(start(program));
    if (end !== 'whole') this.#failures.push(`the last run was ${end}`);
    if (!isDeepStrictEqual(await contentsOf(cache), this.#whole)) this.#failures.push('other contents in the end');
    return { kills: outcomes, failures: this.#failures };
  }

  async #stop(program: Program, kill: PullKill): Promise<KilledEnd> {
    if (kill.at !== 'bytes') return runKilled(program, kill as Kill, this.#profile);
    const running = start(program);
    const target = this.#server.fileBytes + kill.share * modelBytes;
    this.#server.onFileBytes = (total) => {
      if (total >= target) running.kill(kill.signal);
    };
    try {
      return await endOf(running);
    } finally {
      this.#server.onFileBytes = () => {};
    }
  }

  /** Partial and temporary files have names of their own. */
  #look(left: Record<string, string>): PullStage {
    const names = Object.keys(left);
    const final = names.filter((name) => !/[.]trireme[.](incomplete|tmp)$/.test(name));
    for (const name of final) {
      if (left[name] !== this.#whole[name]) this.#failures.push(`${name} is not what it is in the end`);
    }
    if (isDeepStrictEqual(left, this.#whole)) return 'all of it';
    if (final.length > 0) return 'whole files';
    return names.length > 0 ? 'parts of files' : 'nothing';
  }
}
