import { afterEach, expect, test } from 'vitest';
import { GenerateRequest, GenerateResponse, InferenceService } from '#proto/inference.ts';
import { LeaderMessage, RouterMessage, WorkerService } from '#proto/worker.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { Relay } from '../../test/harness/relay.ts';
import { AssertionError } from './assert.ts';
import { errorCodes, TriremeError } from './errors.ts';
import { createLogger, type Logger } from './log.ts';
import {
  createRpcClient,
  implement,
  type RpcBidiCall,
  type RpcCall,
  type RpcClient,
  type RpcClientOptions,
  type RpcHandlers,
  type RpcServer,
  type RpcServerOptions,
  type RpcStreamCall,
  startRpcServer,
} from './rpc.ts';

type Inference = RpcHandlers<typeof InferenceService>;
type Session = (call: RpcBidiCall<RouterMessage, LeaderMessage>) => Promise<void>;
type Generate = RpcStreamCall<GenerateResponse>;

const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const idle: Inference = {
  generate: async () => {},
  resume: async () => {},
  cancel: async () => ({ found: false }),
  embed: async () => ({ embeddings: [], promptTokens: 0 }),
  listModels: async () => ({ models: [] }),
};

async function serve(
  handlers: Partial<Inference> & { session?: Session },
  options: Partial<RpcServerOptions> = {},
): Promise<RpcServer> {
  const { session = async () => {}, ...inference } = handlers;
  const server = await startRpcServer({
    listen: '127.0.0.1:0',
    log: createLogger('silent'),
    services: [
      implement(InferenceService, { ...idle, ...inference }),
      implement(WorkerService, { session, attach: async () => {} }),
    ],
    ...options,
  });
  open.push(() => server.stop());
  return server;
}

function clientOf(address: string, options?: RpcClientOptions): RpcClient {
  const client = createRpcClient(address, options);
  open.push(() => client.close());
  return client;
}

const request = GenerateRequest.fromPartial({ requestId: 'r' });
const message = (requestId: string): GenerateResponse => GenerateResponse.fromPartial({ requestId });
const hello = (group: string): RouterMessage =>
  RouterMessage.fromPartial({ message: { $case: 'hello', value: { group } } });
const welcome = (group: string): LeaderMessage =>
  LeaderMessage.fromPartial({ message: { $case: 'welcome', value: { group } } });
const groupOf = ({ message }: RouterMessage | LeaderMessage): string =>
  message?.$case === 'hello' || message?.$case === 'welcome' ? message.value.group : '';

/** Resolves with the reason when the call is over. */
const over = ({ signal }: RpcCall): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    signal.addEventListener('abort', () => resolve(signal.reason));
  });

async function collect(stream: AsyncIterable<GenerateResponse>, into: string[] = []): Promise<string[]> {
  for await (const { requestId } of stream) into.push(requestId);
  return into;
}

/** A session with what it received and how it ended. */
function session(client: RpcClient) {
  const seen: string[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<TriremeError | undefined>();
  const stream = client.bidi(WorkerService.session, {
    onMessage: (received) => seen.push(groupOf(received)),
    onEnd: resolve,
  });
  return { stream, seen, ended };
}

test('a unary call brings the request, its headers and its deadline, and takes the answer back', async () => {
  const calls: unknown[] = [];
  const server = await serve({
    cancel: async ({ requestId }, call) => {
      calls.push([requestId, call.metadata('x-tenant'), call.metadata('x-absent'), call.peer.startsWith('127.0.0.1:')]);
      expect(call.timeoutMs).toBeGreaterThan(4000);
      expect(call.timeoutMs).toBeLessThanOrEqual(5000);
      return { found: true };
    },
  });
  const client = clientOf(server.address);
  const options = { timeoutMs: 5000, metadata: { 'x-tenant': 'a' } };
  expect(await client.unary(InferenceService.cancel, { requestId: 'r' }, options)).toEqual({ found: true });
  expect(calls).toEqual([['r', 'a', undefined, true]]);
  await eventually(() => expect(server.activeCalls).toBe(0));
});

test('a server stream arrives whole and in order', async () => {
  const server = await serve({
    generate: async (_, call) => {
      for (let i = 0; i < 1000; i++) await call.write(message(`${i}`));
    },
  });
  const stream = clientOf(server.address).serverStream(InferenceService.generate, request);
  expect(await collect(stream)).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
});

test('a session carries messages both ways and ends when the client has said its last', async () => {
  const server = await serve({
    session: async (call) => {
      for await (const received of call.requests) call.send(welcome(`re ${groupOf(received)}`));
      call.send(welcome('bye'));
    },
  });
  const { stream, seen, ended } = session(clientOf(server.address));
  for (let i = 0; i < 200; i++) stream.send(hello(`${i}`));
  stream.end();
  stream.end();
  expect(await ended).toBeUndefined();
  expect(seen).toEqual([...Array.from({ length: 200 }, (_, i) => `re ${i}`), 'bye']);
  expect(stream.send(hello('late'))).toBe(false);
});

test.each(Object.keys(errorCodes) as (keyof typeof errorCodes)[])(
  '%s keeps its code, message and remedy',
  async (code) => {
    const remedy = 'ask 100 % of Øystein\u2014or ☎\n';
    const server = await serve({
      cancel: async () => {
        throw new TriremeError(code, `because of 漢字 & "%41"`, { remedy, cause: new Error('private') });
      },
    });
    const call = clientOf(server.address).unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
    await expect(call).rejects.toMatchObject({ code, message: `because of 漢字 & "%41"`, remedy });
  },
);

test('a message that quotes half a character, or a whole book, still arrives', async () => {
  const server = await serve({
    cancel: async ({ requestId }) => {
      const message = requestId === 'half' ? 'bad \ud83d' : 'é'.repeat(100_000);
      throw new TriremeError('INVALID_ARGUMENT', message, { remedy: message });
    },
  });
  const client = clientOf(server.address);
  const call = (requestId: string) => client.unary(InferenceService.cancel, { requestId }, { timeoutMs: 5000 });
  await expect(call('half')).rejects.toMatchObject({ message: 'bad \ufffd', remedy: 'bad \ufffd' });
  await expect(call('book')).rejects.toMatchObject({ message: `${'é'.repeat(2000)}...` });
});

test('an error that nobody classified is INTERNAL: its cause is logged and not sent', async () => {
  const logged: unknown[] = [];
  const log: Logger = Object.assign(Object.create(createLogger('silent')), {
    error: (fields: unknown) => logged.push(fields),
  });
  const secret = new Error('the password is hunter2');
  const server = await serve({ cancel: () => Promise.reject(secret), generate: () => Promise.reject(secret) }, { log });
  const client = clientOf(server.address);
  for (const call of [
    client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 }),
    collect(client.serverStream(InferenceService.generate, request)),
  ]) {
    await expect(call).rejects.toMatchObject({ code: 'INTERNAL', message: expect.not.stringContaining('hunter2') });
  }
  expect(logged).toMatchObject([
    { err: secret, path: '/trireme.v1.Inference/Cancel' },
    { err: secret, path: '/trireme.v1.Inference/Generate' },
  ]);
});

test('messages sent before an error arrive before it, in streams and sessions', async () => {
  const fail = new TriremeError('RANK_FAILED', 'rank 1 is gone');
  const server = await serve({
    generate: async (_, call) => {
      for (let i = 0; i < 100; i++) call.send(message(`${i}`));
      throw fail;
    },
    session: async (call) => {
      for (let i = 0; i < 100; i++) call.send(welcome(`${i}`));
      throw fail;
    },
  });
  const client = clientOf(server.address);
  const seen: string[] = [];
  const stream = client.serverStream(InferenceService.generate, request);
  await expect(collect(stream, seen)).rejects.toMatchObject({ code: 'RANK_FAILED', message: 'rank 1 is gone' });
  expect(seen).toHaveLength(100);
  const bidi = session(client);
  expect(await bidi.ended).toMatchObject({ code: 'RANK_FAILED' });
  expect(bidi.seen).toHaveLength(100);
});

test('an error that comes before anybody reads is not lost', async () => {
  const server = await serve({ generate: () => Promise.reject(new TriremeError('NO_ROOM', 'full')) });
  const client = clientOf(server.address);
  const stream = client.serverStream(InferenceService.generate, request);
  await client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await expect(collect(stream)).rejects.toMatchObject({ code: 'NO_ROOM' });
});

test('a session that the server ends while the client still talks brings its error', async () => {
  const server = await serve({
    session: async (call) => {
      for await (const received of call.requests) {
        if (groupOf(received) === 'bad') throw new TriremeError('STALE_EPOCH', 'epoch 3 is over');
      }
    },
  });
  const { stream, ended } = session(clientOf(server.address));
  for (const group of ['good', 'bad', 'good', 'good']) stream.send(hello(group));
  expect(await ended).toMatchObject({ code: 'STALE_EPOCH', message: 'epoch 3 is over' });
  await eventually(() => expect(server.activeCalls).toBe(0));
});

test('a deadline ends the call on both sides, each by name', async () => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const server = await serve({
    cancel: async (_, call) => {
      resolve(await over(call));
      return { found: false };
    },
  });
  const client = clientOf(server.address);
  await client.waitForReady(5000);
  const call = client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 500 });
  await expect(call).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(await reason).toMatchObject({ code: expect.stringMatching(/DEADLINE_EXCEEDED|CANCELLED/) });
  await eventually(() => expect(server.activeCalls).toBe(0));
});

test.each([
  ['aborting its signal', (abort: AbortController) => abort.abort(), 'CANCELLED'],
  [
    'aborting with an error of its own',
    (abort: AbortController) => abort.abort(new TriremeError('NO_ROOM', 'x')),
    'NO_ROOM',
  ],
  ['closing the client', (_: AbortController, client: RpcClient) => client.close(), 'CANCELLED'],
])('a client that gives up by %s ends the call on both sides', async (_, giveUp, code) => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const server = await serve({
    generate: async (_, call) => {
      await call.write(message('first'));
      resolve(await over(call));
      await expect(call.drained()).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(call.send(message('never'))).toBe(false);
      throw call.signal.reason;
    },
  });
  const client = clientOf(server.address);
  const abort = new AbortController();
  const stream = client.serverStream(InferenceService.generate, request, { signal: abort.signal });
  const read = (async () => {
    for await (const { requestId } of stream) if (requestId === 'first') giveUp(abort, client);
  })();
  await expect(read).rejects.toMatchObject({ code });
  expect(await reason).toMatchObject({ code: 'CANCELLED' });
  await eventually(() => expect(server.activeCalls).toBe(0));
});

test('leaving the loop over a stream cancels it', async () => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const server = await serve({
    generate: async (_, call) => {
      call.send(message('first'));
      resolve(await over(call));
    },
  });
  for await (const _ of clientOf(server.address).serverStream(InferenceService.generate, request)) break;
  expect(await reason).toMatchObject({ code: 'CANCELLED' });
});

test('a signal that has aborted before, or a closed client, starts no call', async () => {
  let calls = 0;
  const server = await serve({
    cancel: async () => {
      calls++;
      return { found: true };
    },
  });
  const client = clientOf(server.address);
  const options = { timeoutMs: 1000, signal: AbortSignal.abort() };
  const call = client.unary(InferenceService.cancel, { requestId: '' }, options);
  await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
  client.close();
  const late = client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 1000 });
  await expect(late).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(calls).toBe(0);
});

test('reading a session ends when its client cancels or vanishes, with the reason when the server stops', async () => {
  const endings: unknown[] = [];
  const server = await serve({
    session: async (call) => {
      try {
        for await (const received of call.requests) call.send(welcome(groupOf(received)));
        endings.push('no more');
      } catch (error) {
        endings.push(error);
      }
    },
  });
  const relay = await Relay.start(Number(server.address.split(':')[1]));
  open.push(() => relay.stop());
  const client = clientOf(`127.0.0.1:${relay.port}`);
  const begin = async () => {
    const { stream, seen, ended } = session(client);
    stream.send(hello('a'));
    await eventually(() => expect(seen).toEqual(['a']));
    return { stream, ended };
  };
  const cancelled = await begin();
  cancelled.stream.cancel();
  expect(await cancelled.ended).toMatchObject({ code: 'CANCELLED' });
  await eventually(() => expect([server.activeCalls, endings.length]).toEqual([0, 1]));
  const cut = await begin();
  relay.cut();
  expect(await cut.ended).toMatchObject({ code: 'CONNECTION_LOST' });
  await eventually(() => expect([server.activeCalls, endings.length]).toEqual([0, 2]));
  relay.restore();
  const stopped = await begin();
  await server.stop();
  expect(await stopped.ended).toMatchObject({ code: 'UNAVAILABLE', message: 'the server has stopped' });
  expect(endings[2]).toMatchObject({ code: 'UNAVAILABLE' });
});

/** Writes until the client is behind; resolves to the number sent. */
async function fillUp(call: Generate, most: number): Promise<number> {
  const large = GenerateResponse.fromPartial({ requestId: 'x'.repeat(10_000) });
  for (let sent = 1; sent <= most; sent++) {
    if (!call.send(large)) return sent;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return most;
}

test('a writer learns that its client is behind, and goes on when that reads', async () => {
  const { promise: sent, resolve } = Promise.withResolvers<number>();
  const server = await serve({
    generate: async (_, call) => {
      const count = await fillUp(call, 10_000);
      expect(call.pendingCount).toBeGreaterThan(1);
      resolve(count);
      await call.drained();
      expect(call.send(message('last'))).toBe(true);
    },
  });
  const stream = clientOf(server.address).serverStream(InferenceService.generate, request);
  const count = await sent;
  expect(count).toBeLessThan(1000);
  const seen = await collect(stream);
  expect([seen.length, seen.at(-1)]).toEqual([count + 1, 'last']);
});

test('write holds its caller back while the client does not read', async () => {
  let written = 0;
  const large = GenerateResponse.fromPartial({ requestId: 'x'.repeat(10_000) });
  const { promise: behind, resolve } = Promise.withResolvers<void>();
  const server = await serve({
    generate: async (_, call) => {
      while (written < 500) {
        const writing = call.write(large);
        written++;
        if (call.pendingCount > 10) resolve();
        await writing;
      }
    },
  });
  const client = clientOf(server.address);
  const stream = client.serverStream(InferenceService.generate, request);
  await behind;
  await client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  expect(written).toBeLessThan(200);
  expect(await collect(stream)).toHaveLength(500);
});

test('a client that leaves too much unread loses the call by name, on both sides', async () => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const limit = { maxPendingMessages: 50 };
  const server = await serve(
    {
      generate: async (_, call) => {
        while (!call.signal.aborted) await fillUp(call, 10);
        resolve(call.signal.reason);
      },
    },
    limit,
  );
  const stream = clientOf(server.address).serverStream(InferenceService.generate, request);
  expect(await reason).toMatchObject({ code: 'SLOW_CONSUMER' });
  await expect(collect(stream)).rejects.toMatchObject({ code: 'SLOW_CONSUMER' });
});

test('a server that leaves too much of a session unread loses it by name', async () => {
  const server = await serve({ session: async (call) => void (await over(call)) });
  const { stream, ended } = session(clientOf(server.address, { maxPendingMessages: 50 }));
  const large = hello('x'.repeat(100_000));
  for (let i = 0; i < 100; i++) stream.send(large);
  expect(await ended).toMatchObject({ code: 'SLOW_CONSUMER' });
});

test('a message beyond the limit is refused by name in either direction, and the connection goes on', async () => {
  const long = 'x'.repeat(5000);
  const server = await serve(
    {
      cancel: async ({ requestId }) => ({ found: requestId.length > 0 }),
      generate: async (_, call) => void call.send(message(long)),
    },
    { maxMessageBytes: 1000 },
  );
  const [client, strict] = [clientOf(server.address), clientOf(server.address, { maxMessageBytes: 1000 })];
  const named = { code: 'MESSAGE_TOO_LARGE' };
  for (const sender of [client, strict]) {
    const call = sender.unary(InferenceService.cancel, { requestId: long }, { timeoutMs: 5000 });
    await expect(call).rejects.toMatchObject(named);
  }
  const stream = client.serverStream(InferenceService.generate, request);
  await expect(collect(stream)).rejects.toMatchObject(named);
  const generous = await serve({ generate: async (_, call) => void call.send(message(long)) });
  const reader = clientOf(generous.address, { maxMessageBytes: 1000 });
  await expect(collect(reader.serverStream(InferenceService.generate, request))).rejects.toMatchObject(named);
  expect(await client.unary(InferenceService.cancel, { requestId: 'r' }, { timeoutMs: 5000 })).toEqual({ found: true });
});

test('a busy port and an impossible address are refused with a remedy', async () => {
  const server = await serve({});
  await expect(serve({}, { listen: server.address })).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    message: `${server.address} is in use by another process`,
    remedy: expect.stringContaining('another port'),
  });
  for (const listen of ['127.0.0.1', '192.0.2.1:0', ':80', '127.0.0.1:99999']) {
    await expect(serve({}, { listen })).rejects.toMatchObject({ code: 'INVALID_CONFIG' });
  }
});

test('an address without a server, and a method that is not served, are named', async () => {
  const server = await startRpcServer({ listen: '127.0.0.1:0', log: createLogger('silent'), services: [] });
  const client = clientOf(server.address);
  const call = () => client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await expect(call()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await server.stop();
  await expect(call()).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining(server.address) });
  await expect(client.waitForReady(100)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});

test('a proxy of the environment is not used between our own processes', async () => {
  process.env.http_proxy = 'http://127.0.0.1:1';
  open.push(() => void Reflect.deleteProperty(process.env, 'http_proxy'));
  const server = await serve({});
  const call = clientOf(server.address).unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  expect(await call).toEqual({ found: false });
});

test('one call more than the limit is refused by name, and there is room again when one ends', async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const server = await serve({ generate: () => released }, { maxCalls: 2 });
  const client = clientOf(server.address);
  const running = [1, 2].map(() => collect(client.serverStream(InferenceService.generate, request)));
  await eventually(() => expect(server.activeCalls).toBe(2));
  const call = () => client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await expect(call()).rejects.toMatchObject({ code: 'NO_ROOM' });
  release();
  await Promise.all(running);
  expect(await call()).toEqual({ found: false });
});

test('draining refuses new calls and waits for the running ones, up to its grace', async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const server = await serve({ generate: () => released });
  const client = clientOf(server.address);
  const running = collect(client.serverStream(InferenceService.generate, request));
  await eventually(() => expect(server.activeCalls).toBe(1));
  await server.drain(20);
  expect(server.activeCalls).toBe(1);
  let drained = false;
  const draining = server.drain(60_000).then(() => {
    drained = true;
  });
  const call = client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await expect(call).rejects.toMatchObject({ code: 'UNAVAILABLE', message: 'this server is shutting down' });
  expect(drained).toBe(false);
  release();
  await draining;
  expect(await running).toEqual([]);
});

test('stopping ends what runs with UNAVAILABLE on both sides and frees the port', async () => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const server = await serve({
    generate: async (_, call) => {
      await call.write(message('first'));
      resolve(await over(call));
    },
  });
  const seen: string[] = [];
  const client = clientOf(server.address);
  const running = collect(client.serverStream(InferenceService.generate, request), seen);
  await eventually(() => expect(seen).toEqual(['first']));
  const stopping = server.stop();
  await expect(running).rejects.toMatchObject({ code: 'UNAVAILABLE', message: 'the server has stopped' });
  expect(await reason).toMatchObject({ code: 'UNAVAILABLE' });
  await stopping;
  await server.stop();
  const next = await serve({}, { listen: server.address });
  const again = () => client.unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await eventually(async () => expect(await again()).toEqual({ found: false }));
  await next.stop();
});

test('a network that dies without a word ends calls within two keepalives, each side for itself', async () => {
  const { promise: reason, resolve } = Promise.withResolvers<unknown>();
  const keepalive = { keepaliveMs: 200 };
  const server = await serve({ session: async (call) => resolve(await over(call)) }, keepalive);
  const relay = await Relay.start(Number(server.address.split(':')[1]));
  open.push(() => relay.stop());
  const { ended } = session(clientOf(`127.0.0.1:${relay.port}`, keepalive));
  await eventually(() => expect(server.activeCalls).toBe(1));
  relay.swallow();
  const startMs = performance.now();
  expect(await ended).toMatchObject({ code: 'CONNECTION_LOST' });
  expect(await reason).toMatchObject({ code: 'CANCELLED' });
  expect(performance.now() - startMs).toBeLessThan(2000);
});

test('a broken invariant in a handler is not survived: the client is told, and the process is to end', async () => {
  const { promise: thrown, resolve } = Promise.withResolvers<unknown>();
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.once('unhandledRejection', resolve);
  open.push(() => {
    for (const listener of others) process.on('unhandledRejection', listener);
  });
  const bug = new AssertionError('blocks leaked');
  const server = await serve({ cancel: () => Promise.reject(bug) });
  const call = clientOf(server.address).unary(InferenceService.cancel, { requestId: '' }, { timeoutMs: 5000 });
  await expect(call).rejects.toMatchObject({ code: 'INTERNAL' });
  expect(await thrown).toBe(bug);
});
