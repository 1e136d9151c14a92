/** What benchmarks share: the model they run, child processes, medians. */
import { execFile } from 'node:child_process';
import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { slice } from '../../workers/slicer/slice.ts';

const execute = promisify(execFile);
export const root = path.join(import.meta.dirname, '..', '..');
const folder = path.join(root, '.trireme', 'bench');

/** Runs a script of this folder on this Node and returns its last line as JSON. */
export async function runScript<T>(script: string, ...flags: readonly string[]): Promise<T> {
  const { stdout } = await execute(process.execPath, [path.join(import.meta.dirname, script), ...flags]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T;
}

/** Where checkpoints and packages for benchmarks lie. */
export async function benchFolder(): Promise<string> {
  await mkdir(folder, { recursive: true });
  return folder;
}

/** Package folder of the random Qwen3-MoE of 12 layers, 32 experts, in int4; made when it is not there. */
export async function benchPackage(ranks: number): Promise<string> {
  const model = path.join(folder, 'model');
  const out = path.join(folder, `int4-${ranks}`);
  if (!(await exists(path.join(model, 'model.safetensors')))) {
    await execute(process.execPath, [path.join(import.meta.dirname, 'make-model.ts'), '--out', model]);
  }
  if (!(await exists(path.join(out, 'manifest.json')))) await slice({ model, out, ranks, weights: 'int4' });
  return out;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
