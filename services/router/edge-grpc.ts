/** The gRPC edge: Inference and Operations. Translates and decides nothing. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { TriremeError } from '#platform/errors.ts';
import { implement, type RpcService } from '#platform/rpc.ts';
import { GenerateRequest, InferenceService, type Model, ResumeRequest } from '#proto/inference.ts';
import { type DrainStarted, type DrainTarget, OperationsService, type StatusResponse } from '#proto/operations.ts';
import { embed } from './embed.ts';
import type { FrontDoor } from './front-door.ts';
import { resume } from './resume.ts';

/** A message that could not be read; told to the client by the handler, because a decoder cannot name the error. */
class Unreadable {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Text that is no UTF-8 is refused, not patched up. */
class StrictReader extends BinaryReader {
  override string(): string {
    return super.string(true);
  }
}

const strictInference = {
  ...InferenceService,
  generate: { ...InferenceService.generate, requestDeserialize: strictly(GenerateRequest) },
  resume: { ...InferenceService.resume, requestDeserialize: strictly(ResumeRequest) },
};

function strictly<Message>(type: { decode(reader: BinaryReader): Message }): (bytes: Buffer) => Message | Unreadable {
  return (bytes) => {
    try {
      return type.decode(new StrictReader(bytes));
    } catch (error) {
      return new Unreadable(error instanceof Error ? error.message : String(error));
    }
  };
}

function readable<Message>(message: Message | Unreadable): Message {
  if (!(message instanceof Unreadable)) return message;
  throw new TriremeError('INVALID_ARGUMENT', `the request cannot be read: ${message.reason}`, {
    remedy: 'texts must be UTF-8',
  });
}

export function inferenceService(door: FrontDoor, listModels: () => Model[]): RpcService {
  return implement(strictInference, {
    generate: (request, call) => door.generate(readable(request), (response) => void call.send(response), call.signal),
    resume: (request, call) => resume(door, readable(request), (response) => void call.send(response), call.signal),
    embed: (request, call) => embed(door, request, call.signal),
    cancel: async ({ requestId }) => ({ found: door.cancel(requestId) }),
    listModels: async () => ({ models: listModels() }),
  });
}

export interface Operations {
  status(): StatusResponse;
  drain(target: DrainTarget): Promise<DrainStarted>;
}

export function operationsService({ status, drain }: Operations): RpcService {
  return implement(OperationsService, { status: async () => status(), drain });
}
