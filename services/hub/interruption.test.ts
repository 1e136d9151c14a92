/** However a pull ends early, nothing half is visible, and the next one ends in the same bytes with nothing left over. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { faults } from '../../test/fakes/hub-answer.ts';
import { bytesOf, HubRig, smallLimits } from '../../test/fakes/hub-rig.ts';

import { type TemporaryFolder, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { inMountNamespace } from '../../test/harness/mount-namespace.ts';
import { startProcess } from '../../test/harness/process.ts';
import { commandOf, programOf } from '../../test/kills/killed-process.ts';
import { killedPulls } from '../../test/kills/killed-pulls.ts';

const seed = Number(process.env.HUB_SEED ?? Date.now() % 2 ** 31);

let rig: HubRig;
let whole: Record<string, string>;

beforeEach(async () => {
  await using other = await HubRig.start();
  await other.pull();
  whole = await other.contents();
  rig = await HubRig.start();
});

afterEach(() => rig[Symbol.asyncDispose]());

/** Partial files and whole, checked blobs; nothing that leads to them. */
async function expectOnlyBlobs(contents: Record<string, string>): Promise<void> {
  for (const [name, digest] of Object.entries(contents)) {
    expect(name).toMatch(/\/blobs\/[0-9a-f]+([.]trireme[.]incomplete)?$/);
    if (!name.endsWith('.incomplete')) expect(digest).toBe(whole[name]);
  }
}

describe('a cancelled pull', () => {
  it(`ends with the reason at any point, and the next one goes on (HUB_SEED=${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 33_301 }), { minLength: 1, maxLength: 4 }), async (points) => {
        await using fresh = await HubRig.start();
        for (const point of points) {
          const abort = new AbortController();
          const onProgress = (done: number): void => {
            if (done >= point) abort.abort(new TriremeError('CANCELLED', 'interrupted'));
          };
          const result = await fresh
            .pull('acme/tiny', { signal: abort.signal, onProgress })
            .catch((error: unknown) => error);
          if (!(result instanceof Error)) continue; // All was there before that point.
          expect(result).toMatchObject({ code: 'CANCELLED' });
          await expectOnlyBlobs(await fresh.contents());
        }
        await fresh.pull();
        expect(await fresh.contents()).toEqual(whole);
      }),
      { seed, numRuns: 15 },
    );
  });

  it('asks for nothing more, and can be cancelled before it begins', async () => {
    await expect(rig.pull('acme/tiny', { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow('never');
    expect(rig.server.requests).toEqual([]);
    expect(await rig.contents()).toEqual({});
  });

  it('keeps what was written for the next one', async () => {
    const one = { include: ['model-1.safetensors'] };
    const abort = new AbortController();
    let written = 0;
    const onProgress = (done: number): void => {
      written = done;
      if (done > 15_000) abort.abort(new Error('enough'));
    };
    await expect(rig.pull('acme/tiny', { ...one, signal: abort.signal, onProgress })).rejects.toThrow('enough');
    const reports: number[] = [];
    await rig.pull('acme/tiny', { ...one, onProgress: (done) => reports.push(done) });
    expect(reports[0]).toBe(written);
    expect(reports.at(-1)).toBe(20_000);
  });
});

describe('a connection cut at any byte', () => {
  it(`changes nothing about the result (HUB_SEED=${seed})`, async () => {
    const model = {
      repo: 'acme/one',
      files: { 'model.safetensors': bytesOf('cut', 3000), 'config.json': bytesOf('c', 200) },
    };
    const cut = fc.record({ after: fc.nat({ max: 1100 }), times: fc.integer({ min: 1, max: 5 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { maxLength: 4 }), fc.integer({ min: 1, max: 1100 }), async (cuts, partBytes) => {
        await using fresh = await HubRig.start([model]);
        for (const { after, times } of cuts) fresh.server.faults.push(faults.cutAfter(after, times));
        const limits = { ...smallLimits, partBytes, writeBytes: 64 };
        // Too many cuts in a row end the pull; then the next one goes on.
        for (let run = 0; ; run++) {
          const result = await fresh.pull('acme/one', { limits }).catch((error: unknown) => error);
          if (!(result instanceof Error)) break;
          expect(result).toMatchObject({ code: 'HUB_UNAVAILABLE' });
          expect(run).toBeLessThan(20);
        }
        const contents = await fresh.contents();
        expect(Object.keys(contents).filter((name) => name.includes('incomplete'))).toEqual([]);
        expect(Object.keys(contents)).toHaveLength(6);
      }),
      { seed, numRuns: 40 },
    );
  });
});

describe('a killed pull', () => {
  it(`ends in the same bytes when it is run again, wherever it was killed (HUB_SEED=${seed})`, async () => {
    const pulls = await killedPulls(seed, 4);
    expect(pulls.flatMap(({ failures }) => failures)).toEqual([]);
    expect(pulls.some(({ kills }) => kills.some(({ end }) => end !== 'whole'))).toBe(true);
  });
});

describe('a full disk', () => {
  let folder: TemporaryFolder;
  let disk: string;

  beforeEach(async () => {
    folder = await temporaryFolder();
    disk = path.join(folder.path, 'disk');
    await mkdir(disk);
  });

  afterEach(() => folder[Symbol.asyncDispose]());

  /** Runs the script, to which "$@" is a pull to the disk, and that pull once more at its end. */
  async function pullAfter(script: string): Promise<string> {
    const pull = commandOf(programOf('pull-process.ts', rig.server.endpoint, `${disk}/hub`, 'acme/tiny'));
    const [command = '', ...words] = [...inMountNamespace(script), ...pull];
    const running = startProcess(command, words);
    await running.exited;
    return running.output;
  }

  it('is seen before anything is loaded', async () => {
    const output = await pullAfter(`mount -t tmpfs -o size=16k tmpfs '${disk}'`);
    expect(output).toMatch(
      /^DISK_FULL: \S+ has room for 0[.]0 MiB, and 0[.]0 MiB are to be loaded[^\n]*HF_HUB_CACHE[^\n]*\n$/,
    );
    expect(rig.server.fileRequests).toEqual([]);
  });

  it('that fills up meanwhile ends the pull, and what came before is kept', async () => {
    const output = await pullAfter(`
      mount -t tmpfs -o size=1m tmpfs '${disk}'
      "$@" '${disk}/filler'
      find '${disk}/hub' -type l
      find '${disk}/hub' -name '*.incomplete' | wc -l
      rm '${disk}/filler'`);
    const [first, ...others] = output.trim().split('\n');
    expect(first).toMatch(/^DISK_FULL: .* no space left[.] .*kept for the next run$/);
    expect(Number(others[0])).toBeGreaterThan(0);
    expect(others.slice(1)).toEqual(['OK']);
  });
});
