/** What verify-goldens.ts found out, as rows and as text. */

interface Measured {
  /** Largest of all scenarios, in standard deviations of the golden's logits. */
  readonly error: number;
  /** The greedy continuation is the golden's in every scenario. */
  readonly greedyEqual: boolean;
}

/** A golden at one rank count, in float32. */
export interface FloatRow extends Measured {
  readonly golden: string;
  /** 0 when it could not be verified. */
  readonly ranks: number;
  readonly passed: boolean;
  /** Why it failed, or what departs first. */
  readonly why: string;
}

/** A checkpoint of 4-bit integers at one rank count, its integers kept. */
export interface KeptRow {
  readonly golden: string;
  /** How the integers are stored. */
  readonly form: string;
  readonly ranks: number;
  readonly passed: boolean;
  /** Codes, zero points and scales held against the file; how many are others. */
  readonly compared: number;
  readonly different: number;
  /** Matrices of all ranks: kept in integers, and in floats because a cut asks for it. */
  readonly kept: number;
  readonly dequantised: number;
  /** Rows times integers in float32 (accuracy level 1), and in int8 as packages are served (4). */
  readonly exact: Measured;
  readonly served: Measured;
  readonly why: string;
}

export interface Tables {
  readonly goldens: readonly FloatRow[];
  readonly dequantised: readonly FloatRow[];
  readonly kept: readonly KeptRow[];
}

/** By how much a column is wider than its widest cell. */
const gap = '  ';

/** Texts to the left, everything else to the right. */
function printTable(heads: readonly string[], rows: readonly (readonly string[])[], left: ReadonlySet<string>): void {
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  for (const row of [heads, ...rows]) {
    const cells = row.map((cell, i) => (left.has(heads[i]!) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)));
    console.log(cells.join(gap).trimEnd());
  }
}

const sizeOf = (error: number): string => error.toExponential(1);

const yes = (equal: boolean): string => (equal ? 'equal' : 'differs');

function verdict({ passed, ranks }: { readonly passed: boolean; readonly ranks: number }): string {
  if (passed) return 'ok';
  return ranks === 0 ? 'failed' : 'departs';
}

const texts = new Set(['golden', 'form', 'what departs']);

function agreement(rows: readonly { readonly golden: string; readonly passed: boolean }[]): string {
  const goldens = new Set(rows.map(({ golden }) => golden)).size;
  return `${rows.filter(({ passed }) => passed).length} of ${rows.length} agree (${goldens} goldens)`;
}

function printFloats(title: string, rows: readonly FloatRow[]): void {
  if (rows.length === 0) return;
  console.log(`\n${title}\n`);
  const heads = ['golden', 'ranks', 'verdict', 'error, std', 'greedy', 'what departs'];
  const cells = rows.map((row) => {
    const { golden, ranks, error, greedyEqual, why } = row;
    const numbers = ranks === 0 ? ['', ''] : [sizeOf(error), yes(greedyEqual)];
    return [golden, `${ranks}`, verdict(row), ...numbers, why];
  });
  printTable(heads, cells, texts);
  console.log(agreement(rows));
}

function printKept(rows: readonly KeptRow[]): void {
  if (rows.length === 0) return;
  console.log('\nIntegers kept, float32 activations (accuracy level 1), and int8 activations (4) beside them\n');
  const heads = ['golden', 'form', 'ranks', 'verdict', 'integers', 'differ', 'kept', 'floats'];
  const cells = rows.map((row) => {
    const { golden, form, ranks, compared, different, kept, dequantised, exact, served, why } = row;
    const counts = [ranks, compared, different, kept, dequantised].map(String);
    const errors = [exact, served].flatMap(({ error, greedyEqual }) => [sizeOf(error), yes(greedyEqual)]);
    return [golden, form, counts[0]!, verdict(row), ...counts.slice(1), ...errors, why];
  });
  printTable([...heads, 'error at 1', 'greedy', 'error at 4', 'greedy', 'what departs'], cells, texts);
  console.log(agreement(rows));
}

export function printTables({ goldens, dequantised, kept }: Tables): void {
  printFloats('Goldens in float32', goldens);
  printFloats('Quantised goldens, dequantised to float32', dequantised);
  printKept(kept);
  console.log(`\ntotal: ${agreement([...goldens, ...dequantised, ...kept])}`);
}
