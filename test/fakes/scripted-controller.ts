/** A controller's side of the calls to one worker, made one by one. */
import { createRpcClient, type RpcClient } from '#platform/rpc.ts';
import {
  type DescribeResponse,
  DrainRequest,
  type FormProgress,
  type FormStage,
  WorkerControlService,
} from '#proto/control.ts';
import { GroupRecord, type WorkerRecord } from '#proto/records.ts';

const timeoutMs = 20_000;

export class ScriptedController {
  readonly #client: RpcClient;

  constructor(address: string) {
    this.#client = createRpcClient(address);
  }

  /** Every stage that was told; rejects as the call does. */
  async form(group: GroupRecord, signal?: AbortSignal, onProgress?: (progress: FormProgress) => void) {
    const stages: FormStage[] = [];
    const request = { group, secret: Buffer.from('for one epoch') };
    const progress = this.#client.serverStream(WorkerControlService.form, request, signal ? { signal } : {});
    for await (const message of progress) {
      if (message.stage !== stages.at(-1)) stages.push(message.stage);
      onProgress?.(message);
    }
    return stages;
  }

  async disband(group: string, epoch: number): Promise<void> {
    await this.#client.unary(WorkerControlService.disband, { group, epoch }, { timeoutMs });
  }

  async drain(request: Partial<DrainRequest>): Promise<void> {
    await this.#client.unary(WorkerControlService.drain, DrainRequest.fromPartial(request), { timeoutMs });
  }

  describe(): Promise<DescribeResponse> {
    return this.#client.unary(WorkerControlService.describe, {}, { timeoutMs });
  }

  close(): void {
    this.#client.close();
  }
}

/** A placement of group `g` on these workers, by rank. */
export function placeGroup(epoch: number, owners: readonly WorkerRecord[], changes: Partial<GroupRecord>): GroupRecord {
  const ranks = owners.map(({ id, incarnation, address, rankAddress }, rank) => ({
    rank,
    worker: id,
    incarnation,
    address,
    rankAddress,
  }));
  const serving = { kvBlocks: 64, maxSequences: 4, stepTokens: 64, maxWaiting: 4 };
  return { ...GroupRecord.fromPartial({ group: 'g', epoch, ranks, serving }), ...changes };
}
