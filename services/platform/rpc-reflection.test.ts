/** What a stock client finds that knows nothing but an address: plain grpc-js and the published protos, none of our code. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { type Client, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { descriptorSet } from '#proto/descriptors.ts';
import { InferenceService } from '#proto/inference.ts';
import { createLogger } from './log.ts';
import { implement, type RpcServer, startRpcServer } from './rpc.ts';

const root = path.join(import.meta.dirname, '..', '..');
let server: RpcServer;
beforeAll(async () => {
  const inference = implement(InferenceService, {
    generate: async () => {},
    resume: async () => {},
    cancel: async () => ({ found: false }),
    embed: async () => ({ embeddings: [], promptTokens: 0 }),
    listModels: async () => ({ models: [] }),
  });
  const log = createLogger('silent');
  server = await startRpcServer({ listen: '127.0.0.1:0', log, services: [inference], descriptorSet: descriptorSet() });
});
afterAll(() => server.stop());

interface Duplex {
  write(request: object): void;
  end(): void;
  on(event: string, listener: (answer: Record<string, unknown>) => void): void;
}
type StockClient = Client & Record<string, (...args: unknown[]) => Duplex>;

function stockClient(protoFile: string, service: string): StockClient {
  const loaded: unknown = loadPackageDefinition(loadSync(path.join(root, 'node_modules', protoFile)));
  const stockConstructor = service.split('.').reduce((at, name) => (at as Record<string, unknown>)[name], loaded);
  return new (stockConstructor as new (address: string, security: object) => StockClient)(
    server.address,
    credentials.createInsecure(),
  );
}

async function reflect(version: string, request: object): Promise<Record<string, unknown>> {
  const folder = version.replaceAll('.', '/');
  const proto = `@grpc/reflection/build/proto/grpc/reflection/${folder}/reflection.proto`;
  const client = stockClient(proto, `grpc.reflection.${version}.ServerReflection`);
  const stream = client.ServerReflectionInfo!();
  const answer = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on('data', resolve);
    stream.on('error', reject);
    stream.write(request);
  });
  stream.end();
  client.close();
  return answer;
}

test.each(['v1', 'v1alpha'])('reflection %s lists our services and health', async (version) => {
  const answer = await reflect(version, { listServices: '' });
  expect(answer.listServicesResponse).toEqual({
    service: [{ name: 'trireme.v1.Inference' }, { name: 'grpc.health.v1.Health' }],
  });
});

test('reflection describes messages as the protos do: own field names, optional fields, imports', async () => {
  const answer = await reflect('v1', { fileContainingSymbol: 'trireme.v1.Inference.Generate' });
  const { fileDescriptorProto } = answer.fileDescriptorResponse as { fileDescriptorProto: Buffer[] };
  const files = fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  const [file] = files;
  const field = (type: string, name: string) =>
    file?.messageType.find((message) => message.name === type)?.field.find((candidate) => candidate.name === name);
  expect(file?.name).toBe('inference.proto');
  expect(field('GenerateRequest', 'request_id')).toMatchObject({ number: 1, jsonName: 'requestId' });
  expect(field('SamplingParams', 'top_k')).toMatchObject({ number: 2, proto3Optional: true });
  for (const name of file?.dependency ?? []) expect(files.map((other) => other.name)).toContain(name);
});

test('health says SERVING, for all and for a service, and follows setServing', async () => {
  const client = stockClient('grpc-health-check/proto/health/v1/health.proto', 'grpc.health.v1.Health');
  const check = (service: string): Promise<unknown> =>
    new Promise((resolve) => {
      client.check!({ service }, (error: { code: number } | null, answer?: { status: string }) =>
        resolve(error ? error.code : answer?.status),
      );
    });
  const serving = 'SERVING';
  const loaded = [await check(''), await check('trireme.v1.Inference')].map(String);
  expect(loaded.map((status) => (status === '1' ? serving : status))).toEqual([serving, serving]);
  expect(await check('trireme.v1.Unknown')).toBe(5);
  server.setServing(false, 'trireme.v1.Inference');
  expect(String(await check('trireme.v1.Inference'))).toBe('2');
  expect(String(await check(''))).toBe('1');
  server.setServing(true);
  expect(String(await check('trireme.v1.Inference'))).toBe('1');
  client.close();
});

test('the compiled protos are what the protos give today', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'trireme-descriptors-'));
  const file = path.join(folder, 'descriptors.binpb');
  const args = ['build', 'proto', '--as-file-descriptor-set', '-o', file];
  const run = spawnSync(path.join(root, 'node_modules/.bin/buf'), args, { cwd: root, encoding: 'utf8' });
  expect(run.stderr).toBe('');
  const fresh = readFileSync(file);
  rmSync(folder, { recursive: true });
  expect(fresh.equals(descriptorSet()), 'proto/descriptors.binpb is stale; run: npm run gen').toBe(true);
});
