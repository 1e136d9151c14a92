/**
 * Verifies every golden of a folder at every legal rank count up to four, and prints a table:
 *   node test/goldens/verify-goldens.ts [--goldens DIR] [--only NAME,NAME] [--ranks N,N] [--transport threads|tcp]
 *     [--weights native|fp32|int8|int4] [--activations int8|fp32] [--json]
 * A golden with a recipe is built; one beside a folder of its name is a checkpoint with files. Exit status 1 when one departs.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { TriremeError } from '../../services/platform/errors.ts';
import type { Activations, WeightFormat } from '../../workers/models/manifest.ts';
import { inspect } from '../../workers/slicer/inspect.ts';
import { type VerifyReport, verify } from '../../workers/verify/verify.ts';
import { buildCheckpoint, readGolden } from './build-checkpoint.ts';

const mostRanks = 4;

interface Row {
  readonly golden: string;
  readonly ranks: number;
  readonly passed: boolean;
  /** Largest of all scenarios, in standard deviations. */
  readonly error: number;
  /** Why it failed, or what departs first. */
  readonly why: string;
}

/** Golden files in name order. Those without a recipe and without files beside them cannot be built. */
async function goldensIn(folder: string, only: readonly string[]): Promise<readonly string[]> {
  const names = (await readdir(folder)).filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5));
  const wanted = names.filter((name) => only.length === 0 || only.includes(name)).sort();
  const parsed = await Promise.all(
    wanted.map(async (name) => JSON.parse(await readFile(path.join(folder, `${name}.json`), 'utf8'))),
  );
  return wanted.filter((name, i) => existsSync(path.join(folder, name)) || typeof parsed[i].seed === 'number');
}

/** The checkpoint's folder: the one beside the golden, or one that is built below `scratch`. */
async function checkpointOf(folder: string, name: string, scratch: string): Promise<string> {
  const beside = path.join(folder, name);
  if (existsSync(beside)) return beside;
  const built = path.join(scratch, name);
  const different = await buildCheckpoint(await readGolden(path.join(folder, `${name}.json`)), built);
  if (different.length > 0) throw new Error(`${name}: ${different.length} tensors differ from the golden's digests`);
  return built;
}

function rowOf(golden: string, ranks: number, { passed, scenarios }: VerifyReport): Row {
  const error = Math.max(...scenarios.map(({ logitError }) => logitError));
  const first = scenarios.find((scenario) => !scenario.passed);
  const departure = first?.firstDeparture;
  const why = first
    ? `${first.scenario}: ${departure ? `layer ${departure.layer} ${departure.what} ${departure.error.toExponential(1)}` : `continuation equal: ${first.continuationEqual}`}`
    : '';
  return { golden, ranks, passed, error, why };
}

async function verifyGolden(folder: string, name: string, options: Options, scratch: string): Promise<Row[]> {
  const rows: Row[] = [];
  try {
    const model = await checkpointOf(folder, name, scratch);
    const inspection = await inspect(model);
    const legal = inspection.model.legalRankCounts.filter((ranks) => ranks <= mostRanks);
    for (const ranks of options.ranks.length > 0 ? options.ranks.filter((count) => legal.includes(count)) : legal) {
      const golden = path.join(folder, `${name}.json`);
      const { transport, weights, activations } = options;
      rows.push(rowOf(name, ranks, await verify({ model, golden, ranks, transport, weights, activations })));
    }
  } catch (cause) {
    rows.push({ golden: name, ranks: 0, passed: false, error: Number.NaN, why: TriremeError.from(cause).toLine() });
  }
  return rows;
}

interface Options {
  readonly ranks: readonly number[];
  readonly transport: 'threads' | 'tcp';
  readonly weights: WeightFormat;
  readonly activations: Activations;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      goldens: { type: 'string', default: import.meta.dirname },
      only: { type: 'string', default: '' },
      ranks: { type: 'string', default: '' },
      transport: { type: 'string', default: 'threads' },
      weights: { type: 'string', default: 'fp32' },
      activations: { type: 'string', default: 'int8' },
      json: { type: 'boolean', default: false },
    },
  });
  const listed = (text: string): string[] => text.split(',').filter((item) => item !== '');
  const options: Options = {
    ranks: listed(values.ranks).map(Number),
    transport: values.transport as Options['transport'],
    weights: values.weights as WeightFormat,
    activations: values.activations as Activations,
  };
  const scratch = await mkdtemp(path.join(tmpdir(), 'trireme-goldens-'));
  const rows: Row[] = [];
  try {
    for (const name of await goldensIn(values.goldens, listed(values.only))) {
      rows.push(...(await verifyGolden(values.goldens, name, options, scratch)));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  if (values.json) console.log(JSON.stringify(rows));
  else print(rows);
  if (rows.length === 0) throw new Error(`${values.goldens} has no golden that fits --only and --ranks`);
  if (rows.some(({ passed }) => !passed)) process.exitCode = 1;
}

function print(rows: readonly Row[]): void {
  const line = (...cells: readonly string[]): string => {
    const [golden = '', ranks = '', verdict = '', error = '', why = ''] = cells;
    return [golden.padEnd(26), ranks.padStart(5), verdict.padEnd(8), error.padStart(10), why].join('  ').trimEnd();
  };
  console.log(line('golden', 'ranks', 'verdict', 'error, std', 'what departs'));
  for (const { golden, ranks, passed, error, why } of rows) {
    const size = Number.isNaN(error) ? '' : error.toExponential(1);
    console.log(line(golden, `${ranks}`, passed ? 'ok' : 'departs', size, why));
  }
  console.log(`${rows.filter(({ passed }) => passed).length} of ${rows.length} agree`);
}

if (import.meta.main) await main();
