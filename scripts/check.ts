/** Structure: format, lint, types, direction of imports, generated code up to date. Runs all, names what failed. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const command = (name: string): string => path.join(root, 'node_modules', '.bin', name);

/** The tools run on the Node of the package, whatever Node started this script. */
const env = { ...process.env, PATH: `${command('')}:${process.env.PATH}` };

function run(name: string, ...values: string[]): boolean {
  return spawnSync(command(name), values, { cwd: root, stdio: 'inherit', env }).status === 0;
}

function filesOf(folder: string): Map<string, string> {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
}

/** The committed output of ts-proto is what the protos give today. */
function generatedCodeIsFresh(): boolean {
  const scratch = mkdtempSync(path.join(tmpdir(), 'trireme-gen-'));
  try {
    if (!run('buf', 'generate', 'proto', '--template', 'buf.gen.yaml', '--output', scratch)) return false;
    const fresh = filesOf(path.join(scratch, 'proto', 'gen'));
    const committed = filesOf(path.join(root, 'proto', 'gen'));
    const stale = [...new Set([...fresh.keys(), ...committed.keys()])].filter(
      (name) => fresh.get(name) !== committed.get(name),
    );
    for (const name of stale) console.error(`proto/gen/${name} is not what the protos give; run: npm run gen`);
    return stale.length === 0;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const checks: readonly (readonly [string, () => boolean])[] = [
  ['format and lint', () => run('biome', 'check', '.')],
  ['types', () => run('tsc', '--noEmit')],
  [
    'layers',
    () => run('depcruise', '--config', 'scripts/lint/layers.cjs', 'services', 'workers', 'proto', 'scripts', 'test'),
  ],
  ['generated code', generatedCodeIsFresh],
];

const failed = checks.filter(([name, holds]) => {
  console.log(`== ${name}`);
  return !holds();
});
for (const [name] of failed) console.error(`failed: ${name}`);
process.exitCode = failed.length === 0 ? 0 : 1;
