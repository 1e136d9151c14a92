import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readModelSpec } from './families.ts';
import { type Manifest, manifestFormat } from './manifest.ts';
import { parseManifest } from './manifest-schema.ts';

function example(): Manifest {
  const file = new URL('../../test/goldens/qwen3_moe.json', import.meta.url);
  const digest = { path: 'rank-0/weights.bin', bytes: 128, sha256: 'a'.repeat(64) };
  return {
    format: manifestFormat,
    name: 'tiny',
    tool: { name: 'trireme', version: '0.1.0' },
    spec: readModelSpec(JSON.parse(readFileSync(file, 'utf8')).config),
    weights: 'int4',
    activations: 'int8',
    experts: 'sliced',
    provenance: { source: 'ORG/tiny', revision: null, licence: 'mit', quantisation: 'int4', inputs: [] },
    files: [digest],
    shards: [
      {
        rank: 0,
        weightBytes: 128,
        pieces: { embed: { offset: 0, bytes: 10 } },
        vectors: { 'layer.0.sinks': { offset: 0, count: 8 } },
        adapted: {},
      },
    ],
    endTokens: [2],
  };
}

/** The example with the field at a dotted path replaced. */
function changed(path: string, value: unknown): unknown {
  const copy = structuredClone(example()) as unknown as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const parent = keys.reduce((node, key) => node[key] as Record<string, unknown>, copy);
  parent[last] = value;
  return copy;
}

describe('parsing a manifest', () => {
  it('returns what was written', () => {
    expect(parseManifest(JSON.parse(JSON.stringify(example())))).toEqual(example());
  });

  it('reads a factor for every pair of rotated dimensions', () => {
    const factors = [1, 1, 2, 3, 4, 5, 6, 7];
    const manifest = parseManifest(changed('spec.rotary.scaling', { kind: 'factors', factors }));
    expect(manifest.spec.rotary.scaling).toEqual({ kind: 'factors', factors });
  });

  it.each([
    ['format', 1],
    ['weights', 'int3'],
    ['spec.hiddenSize', 0],
    ['spec.layers', []],
    ['spec.rotary.scaling.kind', 'yarn'],
    ['spec.rotary.scaling', { kind: 'factors', factors: [1] }],
    ['spec.rotary.scaling', { kind: 'factors', factors: [0, 1, 1, 1, 1, 1, 1, 1] }],
    ['spec.layers.0.attention.kind', 'linear'],
    ['experts', 'cut'],
    ['shards', []],
    ['shards.0.pieces.embed.offset', -1],
    ['files.0.sha256', 'abc'],
    ['files.0.path', '/etc/passwd'],
    ['files.0.path', 'rank-0/../../secret'],
    ['endTokens', 2],
    ['surprise', true],
  ])('refuses %s = %j', (path, value) => {
    expect(() => parseManifest(changed(path, value))).toThrow(
      expect.objectContaining({ code: 'NOT_A_PACKAGE', message: expect.stringMatching(/^manifest[.]json: /) }),
    );
  });

  it('names the field that is wrong', () => {
    expect(() => parseManifest(changed('shards.0.weightBytes', 'two'))).toThrow(/shards[.]0[.]weightBytes/);
  });

  it('refuses shards out of order', () => {
    expect(() => parseManifest(changed('shards.0.rank', 1))).toThrow('ranks are listed in order');
  });

  it('refuses a family that this version does not know', () => {
    expect(() => parseManifest(changed('spec.family', 'mamba'))).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_FAMILY' }),
    );
  });

  it.each([[null], [[]], ['package'], [{}]])('refuses %j', (json) => {
    expect(() => parseManifest(json)).toThrow(expect.objectContaining({ code: 'NOT_A_PACKAGE' }));
  });
});
