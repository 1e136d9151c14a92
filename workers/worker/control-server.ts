/** WorkerControl over gRPC: what the controller asks, passed to the held groups. */
import { TriremeError } from '#platform/errors.ts';
import { implement, type RpcService, type RpcStreamCall } from '#platform/rpc.ts';
import { type FormProgress, FormStage, WorkerControlService } from '#proto/control.ts';
import type { WorkerRecord } from '#proto/records.ts';
import type { HeldGroups } from './held-groups.ts';

export interface ControlServerOptions {
  readonly groups: HeldGroups;
  /** What this worker is, as it registers. */
  worker(): WorkerRecord;
  /** It is to hold nothing, within so long; undefined: it may be given work again. */
  drain(limitMs: number | undefined): void;
}

export function controlService({ groups, worker, drain }: ControlServerOptions): RpcService {
  return implement(WorkerControlService, {
    // A controller that cancels, goes or times out aborts call.signal, and with it the formation.
    form: (request, call) => groups.form(request, progressTo(call), call.signal),
    disband: async ({ group, epoch }) => {
      await groups.disband(group, epoch, new TriremeError('UNAVAILABLE', `group ${group} was disbanded`));
      return {};
    },
    loadAdapter: async (request) => {
      await groups.loadAdapter(request);
      return {};
    },
    drain: async ({ group, epoch, limitMs, undo }) => {
      if (group !== '') groups.drainGroup(group, epoch, limitMs);
      else drain(undo ? undefined : limitMs);
      return {};
    },
    describe: async () => ({ worker: worker(), groups: groups.describe() }),
  });
}

/** Every stage is told; within a stage the latest figures, as fast as the controller reads. */
export function progressTo(
  call: Pick<RpcStreamCall<FormProgress>, 'send' | 'pendingCount'>,
): (progress: FormProgress) => void {
  let stage: FormStage = FormStage.FORM_STAGE_UNSPECIFIED;
  return (progress) => {
    if (progress.stage === stage && call.pendingCount > 0) return;
    stage = progress.stage;
    call.send(progress);
  };
}
