/**
 * Verifies every golden of a folder at every legal rank count up to four, and prints a table in three parts: models from recipes,
 * quantised ones dequantised, and those of 4-bit integers again with their integers kept:
 *   npm run verify:goldens -- [--goldens DIR] [--only NAME,NAME] [--ranks N,N] [--transport threads|tcp] [--json]
 * Exit status 1 when one departs, 64 when there is nothing to verify.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { errorCodes, TriremeError } from '../../services/platform/errors.ts';
import { inspect } from '../../workers/slicer/inspect.ts';
import { type Transport, type VerifyReport, verify } from '../../workers/verify/verify.ts';
import { compareIntegers } from './compare-integers.ts';
import { checkpointOf, type GoldenFile, goldensIn, isQuantised } from './golden-folder.ts';
import { otherForms, rewriteGptq } from './gptq-forms.ts';
import { type FloatRow, type KeptRow, printTables, type Tables } from './verify-tables.ts';

const mostRanks = 4;

interface Options {
  /** Empty: all. */
  readonly ranks: readonly number[];
  readonly transport: Transport;
  /** Folder for what is built. */
  readonly scratch: string;
}

async function ranksOf(model: string, { ranks }: Options): Promise<readonly number[]> {
  const legal = (await inspect(model)).model.legalRankCounts.filter((count) => count <= mostRanks);
  return ranks.length > 0 ? ranks.filter((count) => legal.includes(count)) : legal;
}

function measured({ scenarios }: VerifyReport) {
  return {
    error: Math.max(...scenarios.map(({ logitError }) => logitError)),
    greedyEqual: scenarios.every(({ continuationEqual }) => continuationEqual),
  };
}

/** What departs first. */
function departureOf({ scenarios }: VerifyReport): string {
  const first = scenarios.find(({ passed }) => !passed);
  if (!first) return '';
  const { scenario, firstDeparture: departure, argmaxDepartures } = first;
  if (departure) return `${scenario}: layer ${departure.layer} ${departure.what} ${departure.error.toExponential(1)}`;
  return `${scenario}: ${argmaxDepartures.length} best tokens, continuation equal: ${first.continuationEqual}`;
}

/** A row of what could not be verified. */
function failure(golden: string, cause: unknown): FloatRow {
  const why = TriremeError.from(cause).toLine();
  return { golden, ranks: 0, passed: false, error: Number.NaN, greedyEqual: false, why };
}

async function verifyFloats({ name, file }: GoldenFile, model: string, options: Options): Promise<FloatRow[]> {
  const rows: FloatRow[] = [];
  for (const ranks of await ranksOf(model, options)) {
    const { transport } = options;
    const report = await verify({ model, golden: file, ranks, transport, weights: 'fp32' });
    const { passed } = report;
    rows.push({ golden: name, ranks, passed, ...measured(report), why: departureOf(report) });
  }
  return rows;
}

/** None for a checkpoint without 4-bit integers. */
async function verifyKept({ name, file }: GoldenFile, model: string, options: Options): Promise<KeptRow[]> {
  const rows: KeptRow[] = [];
  for (const ranks of await ranksOf(model, options)) {
    const out = path.join(options.scratch, 'kept');
    const { form, compared, different, kept, dequantised } = await compareIntegers(model, ranks, out);
    if (kept + dequantised === 0) return [];
    const common = { model, golden: file, ranks, transport: options.transport, weights: 'native' } as const;
    const exact = await verify({ ...common, activations: 'fp32' });
    const served = await verify(common);
    const passed = exact.passed && different === 0 && kept > 0;
    const why = kept > 0 ? departureOf(exact) : 'no integers are kept';
    const row = { golden: name, form, ranks, passed, compared, different, kept, dequantised, why };
    rows.push({ ...row, exact: measured(exact), served: measured(served) });
  }
  return rows;
}

async function verifyForms(golden: GoldenFile, model: string, options: Options): Promise<KeptRow[]> {
  const rows = await verifyKept(golden, model, options);
  for (const form of await otherForms(model)) {
    const rewritten = path.join(options.scratch, `${path.basename(golden.name)}-${form}`);
    await rewriteGptq(model, form, rewritten);
    const own = await verifyKept(golden, rewritten, options);
    rows.push(...own.map((row) => ({ ...row, form: `${row.form}, ${form}` })));
  }
  return rows;
}

async function verifyAll(goldens: readonly GoldenFile[], options: Options): Promise<Tables> {
  const tables = { goldens: [] as FloatRow[], dequantised: [] as FloatRow[], kept: [] as KeptRow[] };
  for (const golden of goldens) {
    const quantised = await isQuantised(golden);
    const floats = quantised ? tables.dequantised : tables.goldens;
    try {
      const model = await checkpointOf(golden, options.scratch);
      floats.push(...(await verifyFloats(golden, model, options)));
      if (quantised) tables.kept.push(...(await verifyForms(golden, model, options)));
    } catch (cause) {
      floats.push(failure(golden.name, cause));
    }
  }
  return tables;
}

const flags = {
  goldens: { type: 'string', default: import.meta.dirname },
  only: { type: 'string', default: '' },
  ranks: { type: 'string', default: '' },
  transport: { type: 'string', default: 'threads' },
  json: { type: 'boolean', default: false },
} as const;

/** Errors: INVALID_ARGUMENT for a flag that is not known. */
function readFlags() {
  try {
    return parseArgs({ options: flags }).values;
  } catch (cause) {
    const remedy = `Known: ${Object.keys(flags).join(', ')}`;
    throw new TriremeError('INVALID_ARGUMENT', (cause as Error).message, { remedy, cause });
  }
}

async function main(): Promise<void> {
  const values = readFlags();
  const listed = (text: string): string[] => text.split(',').filter((item) => item !== '');
  const goldens = await goldensIn(values.goldens, listed(values.only));
  const scratch = await mkdtemp(path.join(tmpdir(), 'trireme-goldens-'));
  try {
    const options = { ranks: listed(values.ranks).map(Number), transport: values.transport as Transport, scratch };
    const tables = await verifyAll(goldens, options);
    const rows = [...tables.goldens, ...tables.dequantised, ...tables.kept];
    if (rows.length === 0) {
      throw new TriremeError('INVALID_ARGUMENT', `none of the goldens can be cut for ${values.ranks} ranks`);
    }
    if (values.json) console.log(JSON.stringify(tables));
    else printTables(tables);
    if (rows.some(({ passed }) => !passed)) process.exitCode = 1;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  await main().catch((cause: unknown) => {
    const error = TriremeError.from(cause);
    console.error(error.toLine());
    process.exitCode = errorCodes[error.code].exit;
  });
}
