/** The compiled protos, for server reflection. `npm run gen` writes them. */
import { readFileSync } from 'node:fs';

/** A FileDescriptorSet of every file under proto/. */
export const descriptorSet = (): Uint8Array => readFileSync(new URL('descriptors.binpb', import.meta.url));
