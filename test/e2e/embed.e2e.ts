/** Vectors of texts, from the command line to the ranks and back. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EmbedRequest, Pooling } from '../../proto/gen/inference.ts';
import { readTensors } from '../fixtures/tiny-checkpoint.ts';
import { generate, greedy } from './generation.ts';
import { refusal } from './refusal.ts';
import { TestSystem, trireme } from './start-system.ts';

const root = path.join(import.meta.dirname, '..', '..');
const golden = JSON.parse(readFileSync(path.join(root, 'test', 'goldens', 'demo.json'), 'utf8'));
const model = path.join(root, 'models', 'demo');

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start('--weights', 'fp32', '--ranks', '2');
}, 120_000);
afterAll(() => system?.stop());

const ids = (values: readonly number[]) => ({ input: { $case: 'tokenIds' as const, value: { ids: [...values] } } });
const text = (value: string) => ({ input: { $case: 'text' as const, value } });

/** What the head would multiply after the prompt: the golden's last hidden state, normalised as the model does. */
async function expectedVector(): Promise<number[]> {
  const { rms_norm_eps: epsilon } = JSON.parse(readFileSync(path.join(model, 'config.json'), 'utf8'));
  const tensors = await readTensors(path.join(model, 'model.safetensors'));
  const norm = tensors.find(({ name }) => name === 'model.norm.weight')!;
  const copy = new Uint8Array(norm.bytes).buffer;
  const weight =
    norm.dtype === 'F32'
      ? new Float32Array(copy)
      : new Float32Array(Uint32Array.from(new Uint16Array(copy), (half) => half << 16).buffer);
  const hidden: number[] = golden.hidden_last.at(-1);
  const mean = hidden.reduce((sum, value) => sum + value * value, 0) / hidden.length;
  return hidden.map((value, i) => (value / Math.sqrt(mean + epsilon)) * weight[i]!);
}

const lengthOf = (values: readonly number[]): number => Math.hypot(...values);
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * b[i]!, 0) / (lengthOf(a) * lengthOf(b));

test('the vector of the last token is what the reference has before its head', async () => {
  const request = EmbedRequest.fromPartial({ inputs: [ids(golden.prompt)], raw: true });
  const { embeddings, promptTokens } = await system.client.embed(request);
  const expected = await expectedVector();
  const error = Math.max(...expected.map((value, i) => Math.abs(value - embeddings[0]!.values[i]!)));
  expect(error / (lengthOf(expected) / Math.sqrt(expected.length))).toBeLessThan(1e-4);
  expect(promptTokens).toBe(golden.prompt.length);
});

test('many texts at once, beside a generation, give what each gives alone; unit vectors unless asked otherwise', async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `The capital of country number ${i} is a city.`);
  for (const pooling of [Pooling.POOLING_LAST, Pooling.POOLING_MEAN]) {
    const request = EmbedRequest.fromPartial({ inputs: texts.map(text), pooling });
    const [{ embeddings }, beside] = await Promise.all([
      system.client.embed(request),
      generate(system.client, greedy('The capital of Norway', 40)),
    ]);
    expect(beside.tokens).toHaveLength(40);
    for (const i of [0, 7, 19]) {
      const [alone] = (await system.client.embed({ ...request, inputs: [text(texts[i]!)] })).embeddings;
      expect(cosine(alone!.values, embeddings[i]!.values)).toBeGreaterThan(1 - 1e-6);
      expect(lengthOf(embeddings[i]!.values)).toBeCloseTo(1, 6);
    }
    expect(cosine(embeddings[0]!.values, embeddings[7]!.values)).toBeLessThan(1 - 1e-4);
  }
  const { groups } = await system.client.status();
  expect(groups[0]).toMatchObject({ engine: { running: 0, waiting: 0 } });
});

test('the command line prints a vector a text, and says what is wrong', async () => {
  const flags = ['embed', '--address', system.address, '--pooling', 'mean'];
  const command = trireme(...flags, '--text', 'one', '--text', 'two');
  expect((await command.exited).status).toBe(0);
  const vectors = command.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as number[]);
  expect(vectors).toHaveLength(2);
  for (const vector of vectors) expect(vector).toHaveLength(golden.hidden_last[0].length);
  expect(await refusal(['embed', '--address', system.address])).toMatchObject({ code: 'INVALID_ARGUMENT', status: 64 });
  const long = ['embed', '--address', system.address, '--text', 'ok', '--text', 'word '.repeat(3000)];
  expect(await refusal(long)).toMatchObject({ code: 'PROMPT_TOO_LONG', status: 64 });
  await expect(system.client.embed(EmbedRequest.fromPartial({}))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
