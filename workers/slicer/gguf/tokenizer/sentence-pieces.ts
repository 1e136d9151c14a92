/**
 * Vocabularies of SentencePiece's BPE kind (tokenizer.ggml.model llama): tokens with scores instead of merges; spaces are written as
 * a character of their own, and what no token covers is written byte by byte.
 */
import type { JsonObject } from '#platform/json-object.ts';
import type { Metadata } from '../metadata.ts';
import type { TokenizerModel } from './tokenizer-model.ts';
import { readVocabulary, type Vocabulary } from './vocabulary.ts';

const scoresKey = 'tokenizer.ggml.scores';
const space = '\u2581';

/** What llama.cpp takes for granted. */
const usualRoles = { unknown: 0, bos: 1, eos: 2 };

/** Errors: as readVocabulary. */
export function sentencePieceModel(metadata: Metadata, vocabularySize: number): TokenizerModel {
  const vocabulary = readVocabulary(metadata, vocabularySize, usualRoles);
  const addsSpace = metadata.flag('tokenizer.ggml.add_space_prefix') ?? true;
  const { tokens, ids, roles } = vocabulary;
  return {
    vocabulary,
    addsBos: true,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(addsSpace ? [{ type: 'Prepend', prepend: space }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: space },
      ],
    },
    preTokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: space }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(addsSpace ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: roles.unknown === undefined ? null : tokens[roles.unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: mergesOf(vocabulary, readScores(metadata, vocabulary)),
    } satisfies JsonObject,
  };
}

function readScores(metadata: Metadata, { tokens }: Vocabulary): readonly number[] {
  const scores = metadata.numbers(scoresKey);
  if (!scores) throw metadata.missing(scoresKey);
  if (scores.length !== tokens.length) throw metadata.odd(scoresKey, `one for each of ${tokens.length} tokens`);
  return scores;
}

interface Merge {
  readonly score: number;
  readonly left: number;
  readonly right: number;
}

/**
 * Every way to make a token of two others, the better token first; of one token, the way with the longer left half. SentencePiece
 * merges the neighbours whose union has the best score, which is the same.
 */
function mergesOf(vocabulary: Vocabulary, scores: readonly number[]): readonly (readonly [string, string])[] {
  const { tokens, kinds } = vocabulary;
  const merges: Merge[] = [];
  const idOf = (text: string): number | undefined => {
    const id = vocabulary.ids.get(text);
    return id !== undefined && kinds[id] === 'normal' ? id : undefined;
  };
  for (const [id, token] of tokens.entries()) {
    if (kinds[id] !== 'normal') continue;
    for (const cut of cutsOf(token)) {
      const [left, right] = [idOf(token.slice(0, cut)), idOf(token.slice(cut))];
      if (left !== undefined && right !== undefined) merges.push({ score: scores[id]!, left, right });
    }
  }
  const length = (id: number): number => [...tokens[id]!].length;
  merges.sort((a, b) => b.score - a.score || length(b.left) - length(a.left) || length(b.right) - length(a.right));
  return merges.map(({ left, right }) => [tokens[left]!, tokens[right]!]);
}

/** Places between its characters. */
function cutsOf(token: string): readonly number[] {
  const cuts: number[] = [];
  let at = 0;
  for (const character of token) {
    if (at > 0) cuts.push(at);
    at += character.length;
  }
  return cuts;
}
