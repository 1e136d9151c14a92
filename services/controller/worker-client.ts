/** WorkerPort over gRPC. A formation has a connection of its own; short questions share one per worker. */
import { TriremeError } from '#platform/errors.ts';
import { createRpcClient, type Dial, type RpcConnection } from '#platform/rpc.ts';
import {
  type DescribeResponse,
  type FormProgress,
  type FormRequest,
  FormStage,
  WorkerControlService,
} from '#proto/control.ts';
import type { QuestionOptions, WorkerPort } from './worker-port.ts';

export class WorkerClient implements WorkerPort {
  /** By address. Only connections that worked when they were last used, so that nobody waits for one's back-off. */
  readonly #clients = new Map<string, RpcConnection>();
  readonly #dial: Dial;

  constructor(dial: Dial = createRpcClient) {
    this.#dial = dial;
  }

  async form(
    address: string,
    request: FormRequest,
    onProgress: (progress: FormProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const client = this.#dial(address);
    try {
      let last: FormStage = FormStage.FORM_STAGE_UNSPECIFIED;
      for await (const progress of client.serverStream(WorkerControlService.form, request, { signal })) {
        last = progress.stage;
        onProgress(progress);
      }
      if (last !== FormStage.FORM_STAGE_WARM) {
        throw new TriremeError('INTERNAL', `${address} ended the formation before it was warm`);
      }
    } finally {
      client.close();
    }
  }

  async disband(address: string, formation: { group: string; epoch: number }, options: QuestionOptions): Promise<void> {
    await this.#ask(address, (client) => client.unary(WorkerControlService.disband, formation, options));
  }

  describe(address: string, options: QuestionOptions): Promise<DescribeResponse> {
    return this.#ask(address, (client) => client.unary(WorkerControlService.describe, {}, options));
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #ask<Answer>(address: string, question: (client: RpcConnection) => Promise<Answer>): Promise<Answer> {
    const client = this.#clients.get(address) ?? this.#dial(address);
    this.#clients.set(address, client);
    try {
      return await question(client);
    } catch (error) {
      if (error instanceof TriremeError && error.code === 'UNAVAILABLE' && this.#clients.get(address) === client) {
        this.#clients.delete(address);
        client.close();
      }
      throw error;
    }
  }
}
