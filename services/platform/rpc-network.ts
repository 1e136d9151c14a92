/** What carries calls: gRPC, or what stands in for it where a whole cluster runs in one process under simulated time. */
import { createRpcClient, type Dial } from './rpc-client.ts';
import { type RpcServer, type RpcServerOptions, startRpcServer } from './rpc-server.ts';

export interface RpcNetwork {
  readonly dial: Dial;
  /** Errors: PORT_IN_USE, INVALID_CONFIG for an address that cannot be bound. */
  serve(options: RpcServerOptions): Promise<RpcServer>;
}

export const grpcNetwork: RpcNetwork = { dial: createRpcClient, serve: startRpcServer };
