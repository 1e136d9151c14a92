/** How the command line says no: run as a user runs it, and held to what every refusal promises. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { expect } from 'vitest';
import { scratchFolder } from '../numerics/demo-package.ts';

const root = path.join(import.meta.dirname, '..', '..');
/** A refusal that has not come by then hangs. */
const limitMs = 30_000;

export interface Outcome {
  /** Null when it had to be killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Words before the command, which run it in another way. */
  readonly prefix?: readonly string[];
  readonly cwd?: string;
}

/** For `prefix`: without the rights of root, which may read and write everything. */
export const withoutPrivileges = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [];

/** The command line on the Node that runs this test. */
export function run(flags: readonly string[], options?: RunOptions): Promise<Outcome> {
  return runScript('services/cli/main.ts', flags, options);
}

/** `main` is relative to the checkout. */
export function runScript(main: string, flags: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { prefix = [], cwd = root } = options;
  const [command = '', ...words] = [...prefix, process.execPath, path.join(root, main), ...flags];
  // Compiled once for all runs, which halves the time of each.
  const env = { ...process.env, NODE_COMPILE_CACHE: path.join(scratchFolder(), 'compiled') };
  const limits = { timeout: limitMs, killSignal: 'SIGKILL', maxBuffer: 16 << 20 } as const;
  return new Promise((resolve) => {
    execFile(command, words, { cwd, env, ...limits }, (error, stdout, stderr) => {
      const status = error ? (typeof error.code === 'number' ? error.code : null) : 0;
      resolve({ status, stdout, stderr });
    });
  });
}

export interface Refusal {
  readonly status: number | null;
  readonly code: string;
  /** All of it: code, cause, remedy. */
  readonly line: string;
}

/**
 * Runs a command that must refuse, as it is and with --json, and checks the form: nothing on stdout; one line on stderr, `CODE: cause.
 * Remedy`, or the same as an object.
 */
export async function refusal(flags: readonly string[], options: RunOptions = {}): Promise<Refusal> {
  const runs = [() => run(flags, options), () => run([...flags, '--json'], options)] as const;
  // Two slicings into one place would be in each other's way.
  const [asText, asJson] =
    flags[0] === 'slice' ? [await runs[0](), await runs[1]()] : await Promise.all([runs[0](), runs[1]()]);
  expect([asText.stdout, asJson.stdout], asText.stderr).toEqual(['', '']);
  const { status, code, line } = lastLine(asText);
  expect(asText.stderr).toBe(`${line}\n`);
  const { error } = JSON.parse(asJson.stderr) as {
    error: { code: string; message: string; remedy?: string; exit: number };
  };
  expect([asJson.status, error.exit, error.code]).toEqual([status, status, code]);
  const said = `${error.code}: ${error.message}${error.remedy ? `. ${error.remedy}` : ''}`;
  expect(said.replaceAll(/\s+/g, ' ')).toBe(line.replaceAll(/\s+/g, ' '));
  return { status, code, line };
}

/** Of a command that tells what it does before it refuses. */
export function lastLine({ status, stderr }: Outcome): Refusal {
  const line = stderr.trimEnd().split('\n').at(-1) ?? '';
  expect(line, stderr).toMatch(/^[A-Z_]+: ./);
  return { status, code: line.slice(0, line.indexOf(':')), line };
}
