/** Writes what a checkpoint folder consists of, for tests and benchmarks. */
import { open } from 'node:fs/promises';

export interface TensorBytes {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Everything of a tensor but its bytes. */
export interface TensorHead {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** Length prefix and JSON of a safetensors file, padded with spaces to a multiple of eight. */
export function encodeHeader(tensors: readonly TensorHead[]): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape, byteLength }) => {
    const begin = end;
    end += byteLength;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const length = Math.ceil(Buffer.byteLength(json) / 8) * 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  header.write(json, 8);
  return header;
}

export async function writeSafetensors(file: string, tensors: readonly TensorBytes[]): Promise<void> {
  await using handle = await open(file, 'w');
  await handle.writeFile(encodeHeader(tensors.map((tensor) => ({ ...tensor, byteLength: tensor.bytes.length }))));
  for (const { bytes } of tensors) await handle.writeFile(bytes);
}

const byteCount = 256;

/** Byte-level models write bytes as printable characters; those that are not printable move up from 256. */
function byteCharacters(): readonly string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let moved = 0;
  return Array.from({ length: byteCount }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : byteCount + moved++),
  );
}

/**
 * A tokenizer.json with a token for each byte, after as many special tokens as leave room (up to four), and made-up words
 * for the ids above, which a model may choose and no text becomes. Every text can be encoded when the vocabulary has at
 * least 256 ids.
 */
export function plainTokenizer(vocabularySize: number): Readonly<Record<string, unknown>> {
  const names = ['<pad>', '<s>', '</s>', '<unk>'].slice(0, Math.max(0, vocabularySize - byteCount));
  const characters = byteCharacters().slice(0, vocabularySize - names.length);
  const tokens = [...names, ...characters];
  while (tokens.length < vocabularySize) tokens.push(`\u0120t${tokens.length}`);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: names.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}
