/** A client that has neither our protos nor our code: it is given an address, asks for descriptors, and calls. */
import path from 'node:path';
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
} from '@grpc/grpc-js';
import {
  loadFileDescriptorSetFromBuffer,
  loadSync,
  type MethodDefinition,
  type PackageDefinition,
  type ServiceDefinition,
} from '@grpc/proto-loader';
import { afterEach, expect, test } from 'vitest';
import { RouterWorld } from '../../test/fakes/router-world.ts';

const modules = path.join(import.meta.dirname, '../../node_modules');
const reflectionProto = '@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto';
const healthProto = 'grpc-health-check/proto/health/v1/health.proto';

let world: RouterWorld | undefined;
const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await world?.close();
  world = undefined;
});

type Fields = Record<string, unknown>;
type AnyMethod = MethodDefinition<object, object>;

/** One service by its definition, called without types. */
class StockClient {
  readonly #client: Client;
  readonly #service: ServiceDefinition;

  constructor(address: string, definition: PackageDefinition, name: string) {
    this.#client = new Client(address, credentials.createInsecure());
    this.#service = definition[name] as ServiceDefinition;
    clients.push(this.#client);
  }

  unary(name: string, request: Fields): Promise<Fields> {
    const { path: to, requestSerialize, responseDeserialize } = this.#method(name);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(to, requestSerialize, responseDeserialize, request, (error, answer) =>
        error ? reject(error) : resolve(answer as Fields),
      );
    });
  }

  stream(name: string, request: Fields): ClientReadableStream<Fields> {
    const { path: to, requestSerialize, responseDeserialize } = this.#method(name);
    return this.#client.makeServerStreamRequest(
      to,
      requestSerialize,
      responseDeserialize,
      request,
    ) as ClientReadableStream<Fields>;
  }

  /** Answers in order, one for each request. */
  async converse(name: string, requests: readonly Fields[]): Promise<Fields[]> {
    const { path: to, requestSerialize, responseDeserialize } = this.#method(name);
    const stream = this.#client.makeBidiStreamRequest(to, requestSerialize, responseDeserialize) as ClientDuplexStream<
      Fields,
      Fields
    >;
    for (const request of requests) stream.write(request);
    stream.end();
    return collect(stream);
  }

  #method(name: string): AnyMethod {
    return this.#service[name] as AnyMethod;
  }
}

async function collect(stream: AsyncIterable<Fields>): Promise<Fields[]> {
  const messages: Fields[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

/** What reflection knows of these symbols, as one set of descriptors. */
async function discover(address: string, symbols: readonly string[]): Promise<PackageDefinition> {
  const reflection = new StockClient(
    address,
    loadSync(path.join(modules, reflectionProto)),
    'grpc.reflection.v1.ServerReflection',
  );
  const answers = await reflection.converse(
    'ServerReflectionInfo',
    symbols.map((symbol) => ({ fileContainingSymbol: symbol })),
  );
  const files = new Map<string, Buffer>();
  for (const answer of answers) {
    const found = answer.fileDescriptorResponse as { fileDescriptorProto: Buffer[] };
    for (const file of found.fileDescriptorProto) files.set(file.toString('base64'), file);
  }
  return loadFileDescriptorSetFromBuffer(descriptorSet([...files.values()]), {
    keepCase: true,
    enums: String,
    longs: String,
  });
}

/** FileDescriptorSet: field 1, repeated. */
function descriptorSet(files: readonly Buffer[]): Buffer {
  return Buffer.concat(files.flatMap((file) => [Buffer.from([0x0a, ...varint(file.length)]), file]));
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

test('a client that knows nothing but the address lists the services, sees health, and streams a generation', async () => {
  world = await RouterWorld.start();
  const { address } = world.router;
  const health = new StockClient(
    address,
    loadSync(path.join(modules, healthProto), { enums: String }),
    'grpc.health.v1.Health',
  );
  expect(await health.unary('Check', { service: '' })).toEqual({ status: 'NOT_SERVING' });
  const watch = health.stream('Watch', { service: 'trireme.v1.Inference' });
  const statuses = watch[Symbol.asyncIterator]();
  expect((await statuses.next()).value).toEqual({ status: 'NOT_SERVING' });
  const leader = await world.lead();
  expect((await statuses.next()).value).toEqual({ status: 'SERVING' });
  for (const service of ['', 'trireme.v1.Inference', 'trireme.v1.Operations']) {
    expect(await health.unary('Check', { service })).toEqual({ status: 'SERVING' });
  }

  const reflection = new StockClient(
    address,
    loadSync(path.join(modules, reflectionProto)),
    'grpc.reflection.v1.ServerReflection',
  );
  const [list] = await reflection.converse('ServerReflectionInfo', [{ listServices: '' }]);
  const { service: listed } = list!.listServicesResponse as { service: { name: string }[] };
  expect(listed.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['trireme.v1.Inference', 'trireme.v1.Operations', 'grpc.health.v1.Health']),
  );

  const definition = await discover(address, ['trireme.v1.Inference', 'trireme.v1.Operations']);
  expect(() => loadPackageDefinition(definition)).not.toThrow();
  const inference = new StockClient(address, definition, 'trireme.v1.Inference');
  const { models } = await inference.unary('ListModels', {});
  expect(models).toMatchObject([{ name: 'demo', ready_groups: 1 }]);
  const messages = await collect(
    inference.stream('Generate', { text: 'What is 17 + 25?', sampling: { max_tokens: 8 } }),
  );
  const choices = messages.flatMap(({ choices: deltas }) => deltas as { text: string; finish_reason?: string }[]);
  expect(choices.length).toBe(8);
  expect(choices.map(({ text }) => text).join('')).not.toBe('');
  expect(choices.at(-1)?.finish_reason).toBe('FINISH_REASON_LENGTH');
  expect(messages.at(-1)?.usage).toMatchObject({ completion_tokens: '8' });

  await leader.kill();
  expect((await statuses.next()).value).toEqual({ status: 'NOT_SERVING' });
  watch.on('error', () => {});
  watch.cancel();
});

test('a stock client gets the status and the words of an error', async () => {
  world = await RouterWorld.start();
  const definition = await discover(world.router.address, ['trireme.v1.Inference']);
  const inference = new StockClient(world.router.address, definition, 'trireme.v1.Inference');
  const failure = await collect(inference.stream('Generate', { text: 'a', sampling: { max_tokens: -1 } })).catch(
    (error) => error,
  );
  expect(failure).toMatchObject({ code: 3, details: 'max_tokens must be a whole number >= 1, not -1' });
});
