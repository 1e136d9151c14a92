/** The parts of a tokenizer.json that the kinds of vocabularies make differently. */
import type { JsonObject } from '#platform/json-object.ts';
import type { Vocabulary } from './vocabulary.ts';

export interface TokenizerModel {
  readonly vocabulary: Vocabulary;
  /** Text begins with the first token unless the file says otherwise. */
  readonly addsBos: boolean;
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
  readonly decoder: JsonObject;
  readonly model: JsonObject;
}
