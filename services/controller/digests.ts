/** The two hashes that say what may stand in for what. Both are over a canonical text, so that they never depend on encoding. */
import { createHash } from 'node:crypto';
import type { ModelRecord } from '#proto/records.ts';

/** Two groups of one generation are interchangeable in every respect. Undefined while the model's record is incomplete. */
export function generationOf({ packageDigest, ranks, serving }: ModelRecord): string | undefined {
  if (!packageDigest || ranks === 0 || !serving) return undefined;
  const { kvBlocks, maxSequences, stepTokens, maxWaiting, adapters } = serving;
  const held = adapters ? [adapters.folder, adapters.places, adapters.rank] : [];
  return hash(['generation', packageDigest, ranks, kvBlocks, maxSequences, stepTokens, maxWaiting, ...held]);
}

/** Two groups of one stream digest give the same bits, so that a stream can go on in the other. */
export function streamDigestOf(packageDigest: string): string {
  return hash(['stream', packageDigest, kvType, numerics]);
}

/** Every rank keeps its cache in this type and computes with row invariance; neither can be chosen yet. */
const kvType = 'float32';
const numerics = 'invariant';

function hash(parts: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
