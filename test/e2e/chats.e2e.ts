/** Whole checkpoint folders, with tokenizers and chat templates of five families, against what the reference makes of them. */
import { cpSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Chat, GenerateRequest } from '../../proto/gen/inference.ts';
import { TriremeClient } from '../../services/client/client.ts';
import { loadTokenizer } from '../../services/tokenizer/tokenizer.ts';
import { goldenCheckpoint } from '../fixtures/tiny-checkpoint.ts';
import type { TestProcess } from '../harness/process.ts';
import { generate } from './generation.ts';
import { trireme } from './start-system.ts';

interface Expected {
  readonly chats: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[];
    readonly rendered: string;
    readonly prompt_ids: readonly number[];
    readonly greedy_ids: readonly number[];
  }[];
  readonly encode: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_with_special: readonly number[];
    readonly decoded: string;
  }[];
}

const folders = path.join(import.meta.dirname, '..', 'goldens', 'checkpoints');
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(path.join(folders, name, 'expected.json'), 'utf8'));

describe.each(['llama', 'qwen3_moe', 'deepseek_v3', 'glm4_moe', 'ernie4_5_moe'])('%s', (name) => {
  const expected = expectedOf(name);
  let checkpoint: Awaited<ReturnType<typeof goldenCheckpoint>>;
  let up: TestProcess;
  let client: TriremeClient;

  beforeAll(async () => {
    checkpoint = await goldenCheckpoint(name);
    cpSync(path.join(folders, name), checkpoint.checkpoint, { recursive: true });
    const flags = ['--model', checkpoint.checkpoint, '--weights', 'fp32', '--listen', '127.0.0.1:0', '--json'];
    up = trireme('up', ...flags);
    const [, address = ''] = await up.waitForLine(/^\{"address":"([^"]+)"/m, 60_000);
    client = new TriremeClient(address);
  }, 90_000);
  afterAll(async () => {
    client?.close();
    await up?.stop();
    await checkpoint?.[Symbol.asyncDispose]();
  });

  test('texts become the reference ids, and come back', async () => {
    const tokenizer = await loadTokenizer(path.join(folders, name));
    for (const { text, ids, ids_with_special, decoded } of expected.encode) {
      expect(tokenizer.encode(text)).toEqual(ids_with_special);
      expect(tokenizer.decode(ids, { showsSpecial: true })).toBe(decoded);
    }
    for (const { messages, rendered, prompt_ids } of expected.chats) {
      expect(tokenizer.chat({ messages })).toMatchObject({ text: rendered, ids: prompt_ids });
    }
  });

  test('a chat is answered with the reference tokens', async () => {
    for (const { messages, greedy_ids } of expected.chats) {
      const request = GenerateRequest.fromPartial({
        prompt: { $case: 'chat', value: Chat.fromPartial({ messages: [...messages] }) },
        sampling: { temperature: 0, ignoreEos: true, maxTokens: greedy_ids.length },
        replyFormat: 'raw',
      });
      expect((await generate(client, request)).tokens).toEqual(greedy_ids);
    }
  });
});
