import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseSplit, evenRange, expertRange, kvHeadRange, legalRankCounts, type Range, shardOf } from './shard.ts';
import type { ExpertsSpec, GroupedSpec, ModelSpec } from './spec.ts';

interface Sizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly width: number;
  readonly vocabulary: number;
}

function specOf(sizes: Sizes): ModelSpec {
  const attention: GroupedSpec = {
    kind: 'grouped',
    heads: sizes.heads,
    kvHeads: sizes.kvHeads,
    headDim: 8,
    norm: 'none',
    inputBias: false,
    outputBias: false,
    window: null,
    sinks: false,
    gated: false,
  };
  return {
    family: 'llama',
    vocabularySize: sizes.vocabulary,
    hiddenSize: 64,
    contextLength: 256,
    normEpsilon: 1e-6,
    normsAddOne: false,
    tiedEmbeddings: false,
    rotary: { theta: 10_000, dims: 8, pairs: 'halves', scaling: { kind: 'none' } },
    layers: [{ attention, mlp: { kind: 'dense', width: sizes.width, bias: false } }],
  };
}

const anySpec = fc
  .record({
    kvHeads: fc.integer({ min: 1, max: 8 }),
    headsPerKvHead: fc.integer({ min: 1, max: 8 }),
    width: fc.integer({ min: 1, max: 64 }),
    vocabulary: fc.integer({ min: 1, max: 500 }),
  })
  .map(({ kvHeads, headsPerKvHead, width, vocabulary }) =>
    specOf({ heads: kvHeads * headsPerKvHead, kvHeads, width: width * 4, vocabulary }),
  );

function shards(spec: ModelSpec, ranks: number) {
  return Array.from({ length: ranks }, (_, rank) => shardOf(spec, { rank, ranks }, 'sliced'));
}

function members(range: Range): number[] {
  return Array.from({ length: range.count }, (_, i) => range.first + i);
}

function upTo(count: number): number[] {
  return members({ first: 0, count });
}

function groupedOf(spec: ModelSpec): GroupedSpec {
  return spec.layers[0]!.attention as GroupedSpec;
}

/** Runs a check for a spec and each of its legal rank counts. */
function forAllCuts(check: (spec: ModelSpec, ranks: number) => void): void {
  fc.assert(
    fc.property(anySpec, (spec) => {
      for (const ranks of legalRankCounts(spec)) check(spec, ranks);
    }),
  );
}

describe('cutting a model', () => {
  it('gives every query head to one rank', () => {
    forAllCuts((spec, ranks) => {
      const { heads } = groupedOf(spec);
      expect(shards(spec, ranks).flatMap((shard) => members(evenRange(heads, shard)))).toEqual(upTo(heads));
    });
  });

  it('gives every rank the KV heads that its query heads read, and no others', () => {
    forAllCuts((spec, ranks) => {
      const { heads, kvHeads } = groupedOf(spec);
      for (const shard of shards(spec, ranks)) {
        const own = evenRange(heads, shard);
        const read = members(own).map((head) => Math.floor((head * kvHeads) / heads));
        expect(members(kvHeadRange(kvHeads, shard))).toEqual([...new Set(read)]);
        expect(own.count % kvHeadRange(kvHeads, shard).count).toBe(0);
      }
    });
  });

  it('gives every vocabulary id to one rank, and all ranks equally many rows', () => {
    forAllCuts((spec, ranks) => {
      const parts = shards(spec, ranks).map(({ vocabulary }) => vocabulary);
      expect(parts.flatMap(members)).toEqual(upTo(spec.vocabularySize));
      expect(new Set(parts.map(({ padded }) => padded)).size).toBe(1);
      for (const { count, padded } of parts) expect(count).toBeLessThanOrEqual(padded);
      expect(parts[0]!.padded * ranks - spec.vocabularySize).toBeLessThan(ranks);
    });
  });

  it('cuts a width into equal ranges that follow each other', () => {
    forAllCuts((spec, ranks) => {
      const { width } = spec.layers[0]!.mlp;
      const parts = upTo(ranks).flatMap((rank) => members(evenRange(width, { rank, ranks })));
      expect(parts).toEqual(upTo(width));
    });
  });

  it('counts as legal exactly what it does not refuse', () => {
    fc.assert(
      fc.property(anySpec, fc.integer({ min: 1, max: 80 }), (spec, ranks) => {
        const legal = legalRankCounts(spec).includes(ranks);
        if (legal) expect(() => shardOf(spec, { rank: 0, ranks }, 'sliced')).not.toThrow();
        else
          expect(() => shardOf(spec, { rank: 0, ranks }, 'sliced')).toThrow(
            expect.objectContaining({ code: 'ILLEGAL_RANK_COUNT' }),
          );
      }),
    );
  });

  it('always allows one rank', () => {
    fc.assert(fc.property(anySpec, (spec) => legalRankCounts(spec)[0] === 1));
  });
});

describe('refusing a rank count', () => {
  const spec = specOf({ heads: 6, kvHeads: 3, width: 192, vocabulary: 512 });

  it.each([
    [2, '3 KV heads can neither be divided nor replicated evenly among 2'],
    [4, '6 query heads do not divide by 4'],
    [0, 'a rank count is a whole number from 1'],
    [-1, 'a rank count is a whole number from 1'],
    [1.5, 'a rank count is a whole number from 1'],
  ])('says why %d ranks are refused, and ends with the legal counts', (ranks, reason) => {
    expect(() => shardOf(spec, { rank: 0, ranks }, 'sliced')).toThrow(
      expect.objectContaining({
        code: 'ILLEGAL_RANK_COUNT',
        message: expect.stringMatching(new RegExp(`${reason}; legal rank counts: 1, 3, 6$`)),
        remedy: undefined,
      }),
    );
  });

  it('refuses a width that does not divide', () => {
    const narrow = specOf({ heads: 8, kvHeads: 8, width: 20, vocabulary: 512 });
    expect(() => shardOf(narrow, { rank: 0, ranks: 8 }, 'sliced')).toThrow(
      /an MLP of width 20 does not divide by 8; legal rank counts: 1, 2, 4$/,
    );
  });
});

describe('splitting experts', () => {
  function withExperts(experts: number, width: number): ModelSpec {
    const spec = specOf({ heads: 8, kvHeads: 8, width: 64, vocabulary: 512 });
    const mlp: ExpertsSpec = {
      kind: 'experts',
      experts,
      chosen: 2,
      width,
      bias: false,
      activation: { kind: 'silu' },
      shared: null,
      routing: { score: 'softmax', bias: false, correction: false, groups: null, normalise: true, scale: 1 },
    };
    return { ...spec, layers: [{ attention: groupedOf(spec), mlp }] };
  }

  it('slices them where blocks stay whole, and spreads them where not', () => {
    expect(chooseSplit(withExperts(8, 64), 2, 32)).toBe('sliced');
    expect(chooseSplit(withExperts(8, 96), 2, 32)).toBe('spread');
    expect(chooseSplit(withExperts(7, 96), 2, 32)).toBe('sliced');
    expect(chooseSplit(withExperts(8, 96), 2, 1)).toBe('sliced');
  });

  it('gives every expert to one rank when they are spread', () => {
    const spec = withExperts(8, 63);
    const { mlp } = spec.layers[0]!;
    const shardsOf = (ranks: number) => upTo(ranks).map((rank) => shardOf(spec, { rank, ranks }, 'spread'));
    for (const ranks of [1, 2, 4, 8]) {
      expect(shardsOf(ranks).flatMap((shard) => members(expertRange(mlp as ExpertsSpec, shard)))).toEqual(upTo(8));
    }
    expect(legalRankCounts(spec)).toEqual([1, 2, 4, 8]);
    expect(() => shardOf(withExperts(6, 63), { rank: 0, ranks: 4 }, 'sliced')).toThrow(
      'neither 6 experts nor their width 63 divide by 4',
    );
  });
});
