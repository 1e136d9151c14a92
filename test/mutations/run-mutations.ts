/** Runs mutations, each in a process of its own, and says which the goldens notice. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { buildCheckpoint, readGolden } from '../goldens/build-checkpoint.ts';
import type { Mutation } from './mutation.ts';
import type { Verdict } from './verify-mutant.ts';

const execute = promisify(execFile);
const goldens = path.join(import.meta.dirname, '..', 'goldens');

/** What two float32 implementations may differ by, in standard deviations of the logits. */
const tolerance = 1e-4;

export interface Outcome extends Verdict {
  readonly mutation: string;
  readonly golden: string;
  readonly caught: boolean;
}

export function casesOf(all: readonly Mutation[]): readonly (readonly [mutation: string, golden: string])[] {
  return all.flatMap(({ name, goldens: noticing }) => noticing.map((golden) => [name, golden] as const));
}

/** Checkpoints of the goldens that have been asked for; gone when it is disposed of. */
export class MutationRun {
  readonly #folder: Promise<string> = mkdtemp(path.join(tmpdir(), 'trireme-mutations-'));
  readonly #checkpoints = new Map<string, Promise<string>>();

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(await this.#folder, { recursive: true, force: true });
  }

  /** Errors: Error when the code is no longer what the mutation was written for. */
  async try(mutation: string, golden: string): Promise<Outcome> {
    const preload = path.join(import.meta.dirname, 'preload.ts');
    const script = path.join(import.meta.dirname, 'verify-mutant.ts');
    const args = ['--import', preload, script, await this.#checkpoint(golden), path.join(goldens, `${golden}.json`)];
    const env = { ...process.env, TRIREME_MUTATION: mutation, TRIREME_GOLDEN: golden };
    const { stdout } = await execute(process.execPath, args, { env });
    const verdict = JSON.parse(stdout) as Verdict;
    const caught = verdict.error === null || !(verdict.error <= tolerance) || !verdict.continuationEqual;
    return { mutation, golden, caught, ...verdict };
  }

  #checkpoint(golden: string): Promise<string> {
    const known = this.#checkpoints.get(golden) ?? this.#build(golden);
    this.#checkpoints.set(golden, known);
    return known;
  }

  async #build(golden: string): Promise<string> {
    const folder = path.join(await this.#folder, golden);
    const different = await buildCheckpoint(await readGolden(path.join(goldens, `${golden}.json`)), folder);
    if (different.length > 0)
      throw new Error(`${golden}: ${different.length} tensors differ from the golden's digests`);
    return folder;
  }
}
