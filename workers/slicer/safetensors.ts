/**
 * The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes without gap or overlap
 * (https://github.com/huggingface/safetensors#format). Reads the header and believes nothing that the file's size contradicts.
 */
import type { FileHandle } from 'node:fs/promises';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { parseStrictJson } from '#platform/strict-json.ts';

/** The format's own limit. */
const largestHeaderBytes = 100_000_000;
const lengthBytes = 8;

/** Bytes per element of what the format can hold; element types of less than a byte have no size here. */
const elementSizes = new Map(
  Object.entries({
    BOOL: 1,
    U8: 1,
    I8: 1,
    F8_E4M3: 1,
    F8_E5M2: 1,
    F8_E8M0: 1,
    U16: 2,
    I16: 2,
    F16: 2,
    BF16: 2,
    U32: 4,
    I32: 4,
    F32: 4,
    U64: 8,
    I64: 8,
    F64: 8,
  }),
);

export interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Position in the file. */
  readonly offset: number;
  readonly bytes: number;
}

function truncated(file: string, what: string): TriremeError {
  return new TriremeError('TRUNCATED_FILE', `${file} ends early: ${what}`, { remedy: 'Fetch the file again' });
}

function damaged(file: string, what: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${file}: ${what}`, { remedy: 'Fetch the file again' });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** `file` is the name for messages. Errors: TRUNCATED_FILE, INVALID_CHECKPOINT, IO_ERROR. Tensors come in file order. */
export async function readHeader(handle: FileHandle, file: string): Promise<readonly StoredTensor[]> {
  const { size } = await handle.stat();
  if (size < lengthBytes) throw truncated(file, `${size} bytes hold no header`);
  const prefix = await readBytes(handle, file, 0, lengthBytes);
  const headerBytes = Number(prefix.readBigUInt64LE());
  if (headerBytes > largestHeaderBytes)
    throw damaged(file, `a header of ${headerBytes} bytes is no safetensors header`);
  const dataStart = lengthBytes + headerBytes;
  if (dataStart > size) throw truncated(file, `the header takes ${headerBytes} bytes, the file has ${size}`);
  const header = await readBytes(handle, file, lengthBytes, headerBytes);
  const tensors = parseHeader(header, file, dataStart).sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  refuseGaps(tensors, file, dataStart, size);
  return tensors;
}

async function readBytes(handle: FileHandle, file: string, offset: number, count: number): Promise<Buffer> {
  const bytes = Buffer.alloc(count);
  await handle.read(bytes, 0, count, offset).catch((cause: unknown) => {
    throw asIoError(cause, `read ${file}`);
  });
  return bytes;
}

function parseHeader(header: Buffer, file: string, dataStart: number): StoredTensor[] {
  let json: unknown;
  try {
    json = parseStrictJson(header);
  } catch (cause) {
    throw damaged(file, `its header is malformed: ${(cause as Error).message}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw damaged(file, 'the header is no object');
  return Object.entries(json)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => parseEntry(name, entry, file, dataStart));
}

function parseEntry(name: string, entry: unknown, file: string, dataStart: number): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (typeof dtype !== 'string') throw damaged(file, `tensor ${name} has no dtype`);
  if (!Array.isArray(shape) || !shape.every(isCount)) throw damaged(file, `tensor ${name} has no shape`);
  const [begin, end] = Array.isArray(offsets) && offsets.length === 2 ? (offsets as unknown[]) : [];
  if (!isCount(begin) || !isCount(end) || end < begin) throw damaged(file, `tensor ${name} has no range of bytes`);
  const bytes = end - begin;
  const expected = shape.reduce((product, dim) => product * dim, elementSizes.get(dtype) ?? Number.NaN);
  if (elementSizes.has(dtype) && expected !== bytes) {
    throw damaged(file, `tensor ${name} has ${bytes} bytes, ${dtype} [${shape}] takes ${expected}`);
  }
  return { name, dtype, shape, offset: dataStart + begin, bytes };
}

function refuseGaps(tensors: readonly StoredTensor[], file: string, dataStart: number, size: number): void {
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.offset < end) throw damaged(file, `tensor ${tensor.name} overlaps the one before it`);
    if (tensor.offset > end) throw damaged(file, `there is a gap before tensor ${tensor.name}`);
    end += tensor.bytes;
    if (end > size) throw truncated(file, `tensor ${tensor.name} goes to byte ${end}, the file has ${size}`);
  }
  if (end < size) throw damaged(file, `${size - end} bytes follow the last tensor`);
}
