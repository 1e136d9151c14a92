/**
 * The GGUF format, versions 2 and 3: metadata, then a list of tensors, then their bytes, each at a multiple of the alignment
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Reads everything but the tensors' bytes and believes nothing that
 * the file's size or the rest of the header contradicts.
 */
import type { FileHandle } from 'node:fs/promises';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import type { StoredTensor } from '../safetensors.ts';
import { BeyondBytes, ByteCursor } from './byte-cursor.ts';
import { type MetadataValue, readValue } from './metadata-value.ts';
import { type TensorType, tensorTypes } from './tensor-types.ts';

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** In file order; shapes with the fastest dimension last, offsets from the start of the file. */
  readonly tensors: readonly StoredTensor[];
}

const magic = 0x4655_4747; // GGUF
const versions: readonly number[] = [2, 3];
/** A header is mostly the vocabulary: some MiB. It is read in growing pieces up to the largest that is believed. */
const firstBytes = 1 << 20;
const largestHeaderBytes = 256 << 20;
/** Of the format: of dimensions, of a key's and a tensor name's length. */
const mostDimensions = 4;
const longestKey = 65_535;
const longestName = 64;
const usualAlignment = 32;
const largestAlignment = 1 << 20;
/** Type, length and nothing else. */
const leastValueBytes = 12 + 1;
const leastTensorBytes = 8 + 4 + 8 + 4 + 8;

/** `file` is the name for messages. Errors: NOT_A_CHECKPOINT, TRUNCATED_FILE, INVALID_CHECKPOINT, IO_ERROR. */
export async function readGgufHeader(handle: FileHandle, file: string): Promise<GgufHeader> {
  const { size } = await handle.stat();
  for (let length = firstBytes; ; ) {
    const bytes = await readBytes(handle, file, Math.min(length, size));
    try {
      return parseHeader(new ByteCursor(bytes, size, file), file, size);
    } catch (cause) {
      if (!(cause instanceof BeyondBytes)) throw cause;
      if (cause.end > largestHeaderBytes)
        throw damaged(file, `a header of more than ${largestHeaderBytes} bytes is no GGUF header`);
      length = Math.min(Math.max(cause.end, length * 4), largestHeaderBytes);
    }
  }
}

async function readBytes(handle: FileHandle, file: string, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  await handle.read(bytes, 0, count, 0).catch((cause: unknown) => {
    throw asIoError(cause, `read ${file}`);
  });
  return bytes;
}

function damaged(file: string, what: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${file}: ${what}`, { remedy: 'Fetch the file again' });
}

function parseHeader(cursor: ByteCursor, file: string, size: number): GgufHeader {
  refuseOtherForms(cursor, file);
  const tensorCount = cursor.count(leastTensorBytes, 'the number of tensors');
  const metadata = readMetadata(cursor, file);
  const placed = readTensors(cursor, tensorCount, file);
  const alignment = alignmentOf(metadata, file);
  const dataStart = align(cursor.position, alignment);
  const tensors = placed
    .map((tensor) => ({ ...tensor, offset: dataStart + tensor.offset }))
    .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  refuseGaps(tensors, { file, dataStart, size, alignment });
  return { metadata, tensors };
}

function refuseOtherForms(cursor: ByteCursor, file: string): void {
  if (cursor.u32('the magic number') !== magic) {
    throw new TriremeError('NOT_A_CHECKPOINT', `${file} is no GGUF file: it does not begin with GGUF`, {
      remedy: 'Name a folder with the files of a Hugging Face model, or a GGUF file',
    });
  }
  const version = cursor.u32('the version');
  if (versions.includes(version)) return;
  const isSwapped = version !== 0 && (version & 0xffff) === 0;
  const what = isSwapped ? 'its bytes are in big-endian order' : `it has version ${version} of GGUF`;
  throw new TriremeError('INVALID_CHECKPOINT', `${file}: ${what}, which is not read; supported: little-endian 2, 3`, {
    remedy: 'Fetch a newer conversion of the model for little-endian machines',
  });
}

function readMetadata(cursor: ByteCursor, file: string): ReadonlyMap<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>();
  const count = cursor.count(leastValueBytes, 'the number of metadata');
  for (let i = 0; i < count; i++) {
    const key = cursor.text(`key ${i} of the metadata`);
    if (key === '' || key.length > longestKey)
      throw damaged(file, `key ${i} of the metadata has ${key.length} letters`);
    if (metadata.has(key)) throw damaged(file, `the key ${key} comes twice`);
    metadata.set(key, readValue(cursor, key, file));
  }
  return metadata;
}

function alignmentOf(metadata: ReadonlyMap<string, MetadataValue>, file: string): number {
  const value = metadata.get('general.alignment') ?? usualAlignment;
  const isPower = typeof value === 'number' && value >= 1 && value <= largestAlignment && (value & (value - 1)) === 0;
  if (isPower) return value;
  throw damaged(file, `general.alignment is ${String(value)}, expected a power of two up to ${largestAlignment}`);
}

function align(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function readTensors(cursor: ByteCursor, count: number, file: string): readonly StoredTensor[] {
  const tensors = new Map<string, StoredTensor>();
  for (let i = 0; i < count; i++) {
    const tensor = readTensor(cursor, i, file);
    if (tensors.has(tensor.name)) throw damaged(file, `tensor ${tensor.name} comes twice`);
    tensors.set(tensor.name, tensor);
  }
  return [...tensors.values()];
}

/** Its offset counts from where the tensors' bytes begin. */
function readTensor(cursor: ByteCursor, number: number, file: string): StoredTensor {
  const name = cursor.text(`the name of tensor ${number}`);
  if (name === '' || name.length > longestName) {
    throw damaged(file, `the name of tensor ${number} has ${name.length} letters, expected 1 to ${longestName}`);
  }
  const dimensions = cursor.u32(`the number of dimensions of ${name}`);
  if (dimensions < 1 || dimensions > mostDimensions) {
    throw damaged(file, `tensor ${name} has ${dimensions} dimensions, expected 1 to ${mostDimensions}`);
  }
  const sizes = Array.from({ length: dimensions }, () => cursor.u64(`the shape of ${name}`));
  const type = typeOf(cursor.u32(`the type of ${name}`), name, file);
  const offset = Number(cursor.u64(`the offset of ${name}`));
  if (!Number.isSafeInteger(offset)) throw damaged(file, `tensor ${name} begins at byte ${offset}`);
  const shape = sizes.map(Number).reverse();
  return { name, dtype: type.name, shape, offset, bytes: bytesOf(shape, type, name, file) };
}

function typeOf(id: number, name: string, file: string): TensorType {
  const type = tensorTypes.get(id);
  if (type) return type;
  throw new TriremeError('INVALID_CHECKPOINT', `${file}: tensor ${name} has type number ${id}, which is not known`, {
    remedy: 'Fetch the model in another type, Q8_0 or Q4_K_M for one',
  });
}

function bytesOf(shape: readonly number[], { name: type, ...block }: TensorType, name: string, file: string): number {
  const values = shape.reduce((product, size) => product * size, 1);
  if (values < 1 || !Number.isSafeInteger(values)) throw damaged(file, `tensor ${name} has the shape [${shape}]`);
  const width = shape.at(-1) ?? 1;
  if (width % block.blockValues !== 0) {
    throw damaged(file, `tensor ${name} has rows of ${width} values, ${type} comes in blocks of ${block.blockValues}`);
  }
  return (values / block.blockValues) * block.blockBytes;
}

interface Extent {
  readonly file: string;
  readonly dataStart: number;
  readonly size: number;
  readonly alignment: number;
}

/** Tensors lie one behind the other, each at the next aligned place; after the last there may be as much as aligns one more. */
function refuseGaps(tensors: readonly StoredTensor[], { file, dataStart, size, alignment }: Extent): void {
  let end = dataStart;
  for (const { name, offset, bytes } of tensors) {
    if (offset % alignment !== dataStart % alignment)
      throw damaged(file, `tensor ${name} is not aligned to ${alignment} bytes`);
    if (offset < end) throw damaged(file, `tensor ${name} overlaps the one before it`);
    if (offset > align(end, alignment)) throw damaged(file, `there is a gap before tensor ${name}`);
    end = offset + bytes;
    if (end > size) {
      throw new TriremeError(
        'TRUNCATED_FILE',
        `${file} ends early: ${name} goes to byte ${end}, the file has ${size}`,
        {
          remedy: 'Fetch the file again',
        },
      );
    }
  }
  if (size > align(end, alignment)) throw damaged(file, `${size - end} bytes follow the last tensor`);
}
