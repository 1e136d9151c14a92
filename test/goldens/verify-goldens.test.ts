/** The command that verifies a folder of goldens: one of the same layout elsewhere, with a golden that is spoilt and one that departs. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { goldenFile, temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import type { Tables } from './verify-tables.ts';

function run(...flags: readonly string[]): Promise<{ status: unknown; stdout: string; stderr: string }> {
  const script = path.join(import.meta.dirname, 'verify-goldens.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...flags], (error, stdout, stderr) =>
      resolve({ status: error?.code ?? 0, stdout, stderr }),
    );
  });
}

/** A folder with llama in an older spelling, spoilt goldens beside it, and one of kept integers without a tokenizer. */
async function fillFolder(folder: string): Promise<void> {
  const llama = JSON.parse(await readFile(goldenFile('llama'), 'utf8'));
  const write = (name: string, contents: object) => writeFile(path.join(folder, `${name}.json`), JSON.stringify(contents));
  const { rope_parameters: rope, ...config } = llama.config;
  const { rope_theta, ...rope_scaling } = rope;
  await write('older', { ...llama, config: { ...config, rope_theta, rope_scaling } });
  await write('departing', { ...llama, logits_std: llama.logits_std / 100 });
  await write('other-seed', { ...llama, seed: llama.seed + 1 });
  await write('no-recipe', { ...llama, seed: undefined });
  await write('no-logits', { ...llama, logits: {} });
  await writeFile(path.join(folder, 'torn.json'), '{"name": "to');
  const gptq = goldenFile('quantized/qwen3_moe_gptq_int4');
  await mkdir(path.join(folder, 'quantized'));
  await cp(gptq, path.join(folder, 'quantized', path.basename(gptq)));
  await cp(gptq.replace(/[.]json$/, ''), path.join(folder, 'quantized', 'qwen3_moe_gptq_int4'), { recursive: true });
  await rm(path.join(folder, 'quantized', 'qwen3_moe_gptq_int4', 'tokenizer.json'));
}

test('a folder elsewhere is verified in three parts; what cannot be is named; the status tells', async () => {
  await using folder = await temporaryFolder();
  await fillFolder(folder.path);
  const { status, stdout } = await run('--goldens', folder.path, '--ranks', '2', '--json');
  expect(status).toBe(1);
  const { goldens, dequantised, kept } = JSON.parse(stdout) as Tables;
  expect(Object.fromEntries(goldens.map(({ golden, ranks, passed, why }) => [golden, [ranks, passed, why]]))).toEqual({
    older: [2, true, ''],
    departing: [2, false, expect.stringContaining('whole: ')],
    'other-seed': [0, false, expect.stringMatching(/21 tensors are not what their digests say/)],
    'no-recipe': [0, false, expect.stringMatching(/has no recipe, and .*no-recipe is not there/)],
    'no-logits': [0, false, expect.stringMatching(/no-logits.json is not a golden file: .*there are no logits/)],
    torn: [0, false, expect.stringMatching(/torn.json cannot be read/)],
  });
  expect(dequantised).toMatchObject([{ ranks: 2, passed: true, greedyEqual: true }]);
  expect(kept.map(({ form, passed, different }) => [form, passed, different])).toEqual([
    ['GPTQ INT4 group 32', true, 0],
    ['GPTQ INT4 group 32, v2', true, 0],
    ['GPTQ INT4 group 32, desc_act', true, 0],
  ]);
  for (const { exact, served } of kept) expect(served.error).toBeGreaterThan(exact.error * 100);
}, 120_000);

test('one golden that agrees ends with 0 and a total; a folder without goldens and an unknown name with 64', async () => {
  const good = await run('--only', 'llama', '--ranks', '1');
  expect([good.status, good.stdout]).toEqual([0, expect.stringMatching(/llama +1 +ok [^]*total: 1 of 1 agree/)]);
  expect(await run('--only', 'nobody')).toMatchObject({ status: 64, stderr: expect.stringContaining('no golden nobody') });
  expect(await run('--goldens', '/nowhere')).toMatchObject({ status: 64 });
  expect(await run('--golden', '/nowhere')).toMatchObject({ status: 64 });
}, 60_000);
