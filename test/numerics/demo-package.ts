/** The demo model as a package, sliced when first asked for and gone with the process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { slice } from '../../workers/slicer/slice.ts';

export const demoModel = new URL('../../models/demo', import.meta.url).pathname;

const known = new Map<string, Promise<string>>();
let scratch: string | undefined;

/** A folder under the system's temporary one that goes with this process. */
export function scratchFolder(): string {
  if (scratch) return scratch;
  const folder = mkdtempSync(path.join(tmpdir(), 'trireme-test-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  scratch = folder;
  return folder;
}

export function demoPackage(ranks: number, weights: WeightFormat): Promise<string> {
  const name = `demo-${weights}-${ranks}`;
  const out = path.join(scratchFolder(), name);
  const sliced = known.get(name) ?? slice({ model: demoModel, out, ranks, weights }).then(() => out);
  known.set(name, sliced);
  return sliced;
}
