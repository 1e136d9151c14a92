import { afterEach, expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { implement, type RpcServer, type RpcStreamCall, startRpcServer } from '#platform/rpc.ts';
import { DescribeResponse, type FormProgress, FormRequest, FormStage, WorkerControlService } from '#proto/control.ts';
import { WorkerClient } from './worker-client.ts';

const log = createLogger('silent');
const never = new AbortController().signal;
const patient = { timeoutMs: 5000, signal: never };
const client = new WorkerClient();
const servers: RpcServer[] = [];

afterEach(async () => {
  client.close();
  for (const server of servers.splice(0)) await server.stop();
});

async function serve(
  form: (call: RpcStreamCall<FormProgress>) => Promise<void>,
  listen = '127.0.0.1:0',
): Promise<RpcServer> {
  const worker = implement(WorkerControlService, {
    form: (_, call) => form(call),
    disband: async () => ({}),
    loadAdapter: async () => ({}),
    drain: async () => ({}),
    describe: async () => DescribeResponse.fromPartial({ worker: { id: 'w0' } }),
  });
  const server = await startRpcServer({ listen, services: [worker], log });
  servers.push(server);
  return server;
}

const form = (address: string, stages: FormStage[], signal = never): Promise<void> =>
  client.form(address, FormRequest.fromPartial({}), ({ stage }) => stages.push(stage), signal);

test('progress arrives in order, and the end after WARM is success', async () => {
  const all = [FormStage.FORM_STAGE_VERIFYING, FormStage.FORM_STAGE_LOADING, FormStage.FORM_STAGE_WARM];
  const { address } = await serve(async (call) => {
    for (const stage of all) await call.write({ stage, done: 1, total: 1 });
  });
  const seen: FormStage[] = [];
  await form(address, seen);
  expect(seen).toEqual(all);
});

test('a formation that ends before it is warm has failed', async () => {
  const { address } = await serve(async (call) => {
    await call.write({ stage: FormStage.FORM_STAGE_LOADING, done: 1, total: 1 });
  });
  await expect(form(address, [])).rejects.toMatchObject({ code: 'INTERNAL', message: /before it was warm/ });
});

test('what the worker raised arrives as it was', async () => {
  const { address } = await serve(async () => {
    throw new TriremeError('DIGEST_MISMATCH', 'other bytes', { remedy: 'Slice again' });
  });
  await expect(form(address, [])).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', remedy: 'Slice again' });
});

test('aborting ends the formation at the worker too, and throws the reason', async () => {
  const ended = Promise.withResolvers<void>();
  const { address } = await serve(async (call) => {
    await call.write({ stage: FormStage.FORM_STAGE_LOADING, done: 1, total: 1 });
    call.signal.addEventListener('abort', () => ended.resolve());
    await ended.promise;
  });
  const abort = new AbortController();
  const reason = new TriremeError('CANCELLED', 'not wanted');
  const forming = client.form(address, FormRequest.fromPartial({}), () => abort.abort(reason), abort.signal);
  await expect(forming).rejects.toBe(reason);
  await ended.promise;
});

test('nobody there is told at once, and whoever comes to the same address is reached at once', async () => {
  const first = await serve(async () => {});
  const { address } = first;
  expect((await client.describe(address, patient)).worker?.id).toBe('w0');
  await first.stop();
  const startMs = performance.now();
  for (let attempt = 0; attempt < 20; attempt++) {
    await expect(client.describe(address, patient)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(client.disband(address, { group: 'g', epoch: 1 }, patient)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  }
  await serve(async () => {}, address);
  expect((await client.describe(address, patient)).worker?.id).toBe('w0');
  expect(performance.now() - startMs).toBeLessThan(2000);
});
