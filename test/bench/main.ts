/**
 * Benchmarks: npm run bench engine | end-to-end | perplexity | slicing | slicing-memory   [-- --repeats 3 --json FILE]
 * Sides are taken in turn within each repeat; the result holds every repeat and the medians.
 */
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchPerplexity } from './accuracy/bench-perplexity.ts';
import { benchEndToEnd } from './end-to-end.ts';
import { benchEngine } from './engine.ts';
import { benchSlicing } from './slicing.ts';
import { benchSlicingMemory } from './slicing-memory.ts';

const benches = {
  engine: benchEngine,
  'end-to-end': benchEndToEnd,
  perplexity: benchPerplexity,
  slicing: benchSlicing,
  'slicing-memory': benchSlicingMemory,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { repeats: { type: 'string', default: '3' }, json: { type: 'string' } },
});
const bench = benches[positionals[0] as keyof typeof benches];
if (!bench) {
  console.error(`usage: npm run bench ${Object.keys(benches).join(' | ')} [-- --repeats 3 --json FILE]`);
  process.exit(64);
}
const machine = { processor: cpus()[0]?.model, cores: cpus().length, node: process.version, loadBefore: loadavg()[0] };
const result = { bench: positionals[0], machine, ...(await bench(Number(values.repeats))) };
if (values.json) await writeFile(values.json, `${JSON.stringify(result, null, 1)}\n`);
