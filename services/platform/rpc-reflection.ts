/** Server reflection from the compiled protos, so that a stock client needs no .proto file. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { service as healthService } from 'grpc-health-check';
import type { RpcService } from './rpc-service.ts';

/** What ReflectionService reads of a package: files by any name. */
type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0];

/** descriptorSet: a FileDescriptorSet, every import included. Lists the given services and the health service. */
export function addReflection(server: Server, descriptorSet: Uint8Array, services: readonly RpcService[]): void {
  const healthFiles = Object.values(healthService).flatMap(({ requestType }) => requestType.fileDescriptorProtos);
  const files: PackageDefinition = {
    files: {
      format: 'Protocol Buffer 3 DescriptorProto',
      type: {},
      fileDescriptorProtos: [...filesOf(descriptorSet), ...healthFiles],
    },
  };
  const names = [...services.map(({ name }) => name), 'grpc.health.v1.Health'];
  new ReflectionService(files, { services: names }).addToServer(server);
}

/** The files of a FileDescriptorSet, still encoded: its field 1, repeated. */
function filesOf(descriptorSet: Uint8Array): Buffer[] {
  const reader = new BinaryReader(descriptorSet);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
}
