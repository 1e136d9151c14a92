/** Threads that encode: the same package, the same errors, and none that stays. */
import { cp, readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  changeTensors,
  digestsOf,
  goldenFile,
  type TemporaryFolder,
  temporaryFolder,
} from '../../test/fixtures/tiny-checkpoint.ts';
import { type SliceOptions, slice } from './slice.ts';

let folder: TemporaryFolder;
let model: string;
let out: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  model = path.join(folder.path, 'checkpoint');
  out = path.join(folder.path, 'package');
});

afterEach(() => folder[Symbol.asyncDispose]());

async function use(golden: string): Promise<void> {
  await cp(goldenFile(`quantized/${golden}`).replace(/[.]json$/, ''), model, { recursive: true });
}

function run(options: Partial<SliceOptions> = {}) {
  return slice({ model, out, ranks: 2, weights: 'native', ...options });
}

it.each(['deepseek_v3_fp8_block', 'kimi_k2_int4', 'qwen3_moe_gptq_int4'])(
  '%s has the same bytes whichever threads encode it',
  async (golden) => {
    await use(golden);
    await run({ threads: 0 });
    const alone = await digestsOf(out);
    for (const threads of [1, 3]) {
      await run({ threads });
      expect(await digestsOf(out)).toEqual(alone);
    }
  },
);

it('tells what a thread refuses as this one would', async () => {
  await use('glm4_moe_fp8_channel');
  await changeTensors(model, (tensors) =>
    tensors.map((tensor) =>
      tensor.name.endsWith('layers.0.mlp.up_proj.weight')
        ? { ...tensor, bytes: new Uint8Array(tensor.bytes.length).fill(0xff) }
        : tensor,
    ),
  );
  await expect(run({ threads: 2 })).rejects.toMatchObject({
    code: 'INVALID_CHECKPOINT',
    message: expect.stringMatching(/up_proj.weight holds NaN, which is no weight/),
    remedy: expect.stringMatching(/./),
  });
  expect(await readdir(folder.path)).toEqual(['checkpoint']);
});

it('ends its threads when it is cancelled', async () => {
  await use('kimi_k2_int4');
  const abort = new AbortController();
  const cancelled = run({
    threads: 2,
    signal: abort.signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      if (doneBytes > totalBytes / 2) abort.abort();
    },
  });
  await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(process.getActiveResourcesInfo().filter((resource) => resource === 'MessagePort')).toEqual([]);
});
