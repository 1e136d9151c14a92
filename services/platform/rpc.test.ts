import { expect, test } from 'vitest';
import { GenerateRequest, GenerateResponse, InferenceService } from '#proto/inference.ts';
import { LeaderMessage, RouterMessage, WorkerService } from '#proto/worker.ts';
import { createLogger } from './log.ts';
import { createRpcClient, implement, startRpcServer } from './rpc.ts';

test('smoke', async () => {
  const server = await startRpcServer({
    listen: '127.0.0.1:0',
    log: createLogger('info'),
    services: [
      implement(InferenceService, {
        generate: async (request, call) => {
          for (let i = 0; i < 100; i++)
            await call.write(GenerateResponse.fromPartial({ requestId: request.requestId }));
        },
        cancel: async (request) => ({ found: request.requestId === 'a' }),
        listModels: async () => ({ models: [] }),
      }),
      implement(WorkerService, {
        session: async (call) => {
          for await (const m of call.requests)
            call.send(
              LeaderMessage.fromPartial({ message: { $case: 'welcome', value: { group: m.message?.$case ?? '' } } }),
            );
        },
      }),
    ],
  });
  const client = createRpcClient(server.address);
  expect(await client.unary(InferenceService.cancel, { requestId: 'a' }, { timeoutMs: 1000 })).toEqual({ found: true });
  let n = 0;
  for await (const m of client.serverStream(
    InferenceService.generate,
    GenerateRequest.fromPartial({ requestId: 'x' }),
  )) {
    n++;
    expect(m.requestId).toBe('x');
  }
  expect(n).toBe(100);
  const got: string[] = [];
  await new Promise<void>((resolve) => {
    const s = client.bidi(WorkerService.session, {
      onMessage: (m) => got.push(JSON.stringify(m)),
      onEnd: (e) => {
        got.push(String(e));
        resolve();
      },
    });
    for (let i = 0; i < 3; i++) s.send(RouterMessage.fromPartial({ message: { $case: 'hello', value: {} } }));
    s.end();
  });
  expect(got.length).toBe(4);
  client.close();
  await server.stop();
});
