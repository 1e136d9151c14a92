/** The demo model and goldens as packages, sliced when first asked for and gone with the process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { slice } from '../../workers/slicer/slice.ts';
import { goldenCheckpoint } from '../fixtures/tiny-checkpoint.ts';

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
  return slicedOnce(`demo-${weights}-${ranks}`, async (out) => {
    await slice({ model: demoModel, out, ranks, weights });
  });
}

/** Of a tiny model with random weights. */
export function goldenPackage(golden: string, ranks: number, weights: WeightFormat): Promise<string> {
  return slicedOnce(`${golden}-${weights}-${ranks}`, async (out) => {
    await using folder = await goldenCheckpoint(golden);
    await slice({ model: folder.checkpoint, out, ranks, weights });
  });
}

function slicedOnce(name: string, sliceTo: (out: string) => Promise<void>): Promise<string> {
  const out = path.join(scratchFolder(), name);
  const sliced = known.get(name) ?? sliceTo(out).then(() => out);
  known.set(name, sliced);
  return sliced;
}
