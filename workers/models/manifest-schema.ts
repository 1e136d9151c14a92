/** Validates a manifest.json: the one place where a package's own description becomes a Manifest. */

import { z } from 'zod';
import { TriremeError } from '#platform/errors.ts';
import { familyOf } from './families.ts';
import { type Manifest, manifestFormat } from './manifest.ts';

const count = z.int().nonnegative();
const size = z.int().positive();
const positive = z.number().positive();

const fileDigest = z.strictObject({
  path: z
    .string()
    .min(1)
    .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), 'leaves the package'),
  bytes: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const pairs = z.enum(['halves', 'neighbours']);

const rotary = z
  .strictObject({
    theta: positive,
    dims: size.multipleOf(2),
    pairs,
    scaling: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('none') }),
      z.strictObject({ kind: z.literal('linear'), factor: positive }),
      z.strictObject({ kind: z.literal('factors'), factors: z.array(positive).min(1) }),
      z.strictObject({
        kind: z.literal('llama3'),
        factor: positive,
        lowFrequencyFactor: positive,
        highFrequencyFactor: positive,
        originalContext: size,
      }),
      z.strictObject({
        kind: z.literal('yarn'),
        factor: positive,
        betaFast: positive,
        betaSlow: positive,
        originalContext: size,
        truncate: z.boolean(),
        attentionFactor: positive,
      }),
    ]),
  })
  .refine(
    ({ dims, scaling }) => scaling.kind !== 'factors' || scaling.factors.length === dims / 2,
    'does not have a factor for each pair of dimensions',
  );

const attention = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('grouped'),
    heads: size,
    kvHeads: size,
    headDim: size,
    norm: z.enum(['none', 'before-rotation', 'after-rotation', 'whole']),
    inputBias: z.boolean(),
    outputBias: z.boolean(),
    window: size.nullable(),
    sinks: z.boolean(),
    gated: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal('latent'),
    heads: size,
    queryRank: size.nullable(),
    latent: size,
    plainDim: size,
    valueDim: size,
    latentNormEpsilon: positive,
    scoreScale: positive,
    indexer: z
      .discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('own'), heads: size, dim: size, chosen: size, pairs }),
        z.strictObject({ kind: z.literal('shared') }),
      ])
      .nullable(),
  }),
  z.strictObject({
    kind: z.literal('delta'),
    keyHeads: size,
    valueHeads: size,
    keyDim: size,
    valueDim: size,
    kernel: size,
  }),
]);

const mlp = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('dense'), width: size, bias: z.boolean() }),
  z.strictObject({
    kind: z.literal('experts'),
    experts: size,
    chosen: size,
    width: size,
    bias: z.boolean(),
    activation: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('silu') }),
      z.strictObject({ kind: z.literal('clamped'), alpha: positive, limit: positive }),
    ]),
    shared: z.strictObject({ width: size, gated: z.boolean() }).nullable(),
    routing: z.strictObject({
      score: z.enum(['softmax', 'sigmoid']),
      bias: z.boolean(),
      correction: z.boolean(),
      groups: z.strictObject({ count: size, chosen: size, by: z.enum(['best', 'best-two']) }).nullable(),
      normalise: z.boolean(),
      scale: positive,
    }),
  }),
]);

const spec = z.strictObject({
  family: z.string(),
  vocabularySize: size,
  hiddenSize: size,
  contextLength: size,
  normEpsilon: positive,
  normsAddOne: z.boolean(),
  tiedEmbeddings: z.boolean(),
  rotary,
  layers: z.array(z.strictObject({ attention, mlp })).min(1),
});

const range = z.strictObject({ first: count, count: size });

const shard = z.strictObject({
  rank: count,
  weightBytes: count,
  pieces: z.record(z.string(), z.strictObject({ offset: count, bytes: size })),
  vectors: z.record(z.string(), z.strictObject({ offset: count, count: size })),
  adapted: z.record(z.string(), z.array(z.strictObject({ tensor: z.string(), rows: z.array(range), columns: range }))),
});

const manifest = z.strictObject({
  format: z.literal(manifestFormat),
  name: z.string().min(1),
  tool: z.strictObject({ name: z.literal('trireme'), version: z.string() }),
  spec,
  weights: z.enum(['native', 'fp32', 'int8', 'int4']),
  activations: z.enum(['int8', 'fp32']),
  experts: z.enum(['sliced', 'spread']),
  provenance: z.strictObject({
    source: z.string(),
    revision: z.string().nullable(),
    licence: z.string().nullable(),
    quantisation: z.string(),
    inputs: z.array(fileDigest),
  }),
  files: z.array(fileDigest),
  shards: z.array(shard).min(1),
  endTokens: z.array(count),
});

/**
 * `json` is the parsed manifest.json. Errors: NOT_A_PACKAGE naming the field that is wrong; UNKNOWN_FAMILY when the
 * package was made for a family that this version does not know.
 */
export function parseManifest(json: unknown): Manifest {
  const result = manifest.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    const field = issue?.path.join('.') || 'the whole';
    throw new TriremeError('NOT_A_PACKAGE', `manifest.json: ${field}: ${issue?.message ?? 'invalid'}`, {
      remedy: 'Slice the checkpoint again with this version',
      cause: result.error,
    });
  }
  familyOf(result.data.spec.family);
  for (const [index, { rank }] of result.data.shards.entries()) {
    if (rank === index) continue;
    throw new TriremeError(
      'NOT_A_PACKAGE',
      `manifest.json: shards.${index}.rank is ${rank}; ranks are listed in order`,
    );
  }
  return result.data;
}
