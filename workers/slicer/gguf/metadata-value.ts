/** One value of a GGUF file's metadata: a number, a truth, a text, or a list of one of these. */
import { TriremeError } from '#platform/errors.ts';
import type { ByteCursor } from './byte-cursor.ts';

/** Whole numbers of 64 bits that no number holds are bigints. */
type Scalar = number | bigint | boolean | string;
export type MetadataValue = Scalar | readonly Scalar[];

interface ValueType {
  readonly leastBytes: number;
  readonly read: (cursor: ByteCursor, what: string) => Scalar;
}

const listType = 9;

/** By number in the format. */
const valueTypes: ReadonlyMap<number, ValueType> = new Map([
  [0, { leastBytes: 1, read: (cursor: ByteCursor, what: string) => cursor.u8(what) }],
  [1, { leastBytes: 1, read: (cursor: ByteCursor, what: string) => cursor.i8(what) }],
  [2, { leastBytes: 2, read: (cursor: ByteCursor, what: string) => cursor.u16(what) }],
  [3, { leastBytes: 2, read: (cursor: ByteCursor, what: string) => cursor.i16(what) }],
  [4, { leastBytes: 4, read: (cursor: ByteCursor, what: string) => cursor.u32(what) }],
  [5, { leastBytes: 4, read: (cursor: ByteCursor, what: string) => cursor.i32(what) }],
  [6, { leastBytes: 4, read: (cursor: ByteCursor, what: string) => shortestDecimal(cursor.f32(what)) }],
  [7, { leastBytes: 1, read: readTruth }],
  [8, { leastBytes: 8, read: (cursor: ByteCursor, what: string) => cursor.text(what) }],
  [10, { leastBytes: 8, read: (cursor: ByteCursor, what: string) => fitting(cursor.u64(what)) }],
  [11, { leastBytes: 8, read: (cursor: ByteCursor, what: string) => fitting(cursor.i64(what)) }],
  [12, { leastBytes: 8, read: (cursor: ByteCursor, what: string) => cursor.f64(what) }],
]);

/** `file` is for messages. Errors: TRUNCATED_FILE; INVALID_CHECKPOINT for types that are not known, and lists of lists. */
export function readValue(cursor: ByteCursor, key: string, file: string): MetadataValue {
  const id = cursor.u32(`the type of ${key}`);
  if (id !== listType) return typeOf(id, key, file).read(cursor, key);
  const elements = typeOf(cursor.u32(`the type of what ${key} lists`), key, file);
  const length = cursor.count(elements.leastBytes, `the length of ${key}`);
  const list: Scalar[] = [];
  for (let i = 0; i < length; i++) list.push(elements.read(cursor, key));
  return list;
}

function typeOf(id: number, key: string, file: string): ValueType {
  const type = valueTypes.get(id);
  if (type) return type;
  const what = id === listType ? 'a list of lists' : `of type number ${id}`;
  throw new TriremeError('INVALID_CHECKPOINT', `${file}: ${key} is ${what}, which is not read`, {
    remedy: 'Fetch the file again, or another conversion of the model',
  });
}

function readTruth(cursor: ByteCursor, what: string): boolean {
  return cursor.u8(what) !== 0;
}

function fitting(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/**
 * What somebody wrote before it was rounded to float32: of all decimal fractions that round to it the shortest, 1e-6 and not
 * 9.999999974752427e-7.
 */
export function shortestDecimal(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
  return value;
}
