/**
 * gRPC in one place: deadlines, cancellation, back-pressure, size limits, keepalive and errors are the same for every
 * service. Nobody else imports @grpc/grpc-js (the generated definitions aside).
 *
 *   const server = await startRpcServer({ listen: '127.0.0.1:0', log, services: [implement(InferenceService, {
 *     generate: async (request, call) => { await call.write(message); },   // server stream
 *     cancel: async (request, call) => ({ found: true }),                  // unary
 *     listModels: async () => ({ models: [] }),
 *   })] });
 *   const client = createRpcClient(server.address);
 *   const { found } = await client.unary(InferenceService.cancel, { requestId }, { timeoutMs: 1000 });
 *   for await (const message of client.serverStream(InferenceService.generate, request, { signal })) ...
 *   const session = client.bidi(WorkerService.session, { onMessage, onEnd });
 */

export type { BidiHandlers, BidiStream } from './rpc-bidi.ts';
export type {
  Dial,
  RpcClient,
  RpcClientOptions,
  RpcConnection,
  StreamOptions,
  UnaryOptions,
} from './rpc-client.ts';
export { createRpcClient } from './rpc-client.ts';
export type { RpcNetwork } from './rpc-network.ts';
export { grpcNetwork } from './rpc-network.ts';
export type { RpcServer, RpcServerOptions } from './rpc-server.ts';
export { startRpcServer } from './rpc-server.ts';
export type {
  RpcBidiCall,
  RpcCall,
  RpcHandler,
  RpcHandlers,
  RpcMethod,
  RpcService,
  RpcStreamCall,
} from './rpc-service.ts';
export { implement } from './rpc-service.ts';
