/**
 * The bare engine beside llama.cpp on the same shapes and bit width, with one and two ranks (threads for llama.cpp), under two
 * loads: every sequence on a way of its own, so that a step meets most experts; and all on the same way from a short prompt, so
 * that they share experts. Then two ranks with a foreign process that keeps one core busy. llama.cpp is measured when LLAMA_BATCHED_BENCH and LLAMA_GGUF
 * name its tool and a Q4_0 model of the same shape.
 */
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { EngineRun } from './engine-run.ts';
import { benchPackage, median, runScript } from './measure.ts';

const execute = promisify(execFile);
const batches = [1, 4, 8, 16, 32];
const loads = [
  { name: 'apart', prompt: '128', flags: [] },
  { name: 'alike', prompt: '8', flags: ['--same-prompt'] },
] as const;
/** tokens/s by what was measured, one value a repeat. */
type Figures = Map<string, number[]>;

export async function benchEngine(repeats: number): Promise<object> {
  const packages = new Map<number, string>();
  for (const ranks of [1, 2]) packages.set(ranks, await benchPackage(ranks));
  const figures: Figures = new Map();
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [ranks, folder] of packages) {
      for (const { name, prompt, flags } of loads) {
        const run = [
          '--package',
          folder,
          '--prompt',
          prompt,
          ...flags,
          ...(name === 'apart' ? ['--prefill', '512'] : []),
        ];
        note(figures, `ours ${ranks} ${name}`, await runScript<EngineRun>('engine-run.ts', ...run));
      }
      await runLlama(figures, ranks);
    }
    await besideBusyProcess(figures, packages.get(2)!);
  }
  const medians = new Map([...figures].map(([name, values]) => [name, median(values)]));
  print(medians);
  return { figures: Object.fromEntries(figures), medians: Object.fromEntries(medians) };
}

function note(figures: Figures, side: string, { decode, prefill }: EngineRun): void {
  for (const [batch, speed] of Object.entries(decode)) add(figures, `${side} batch ${batch}`, speed);
  if (prefill !== undefined) add(figures, `${side} prefill`, prefill);
}

function add(figures: Figures, name: string, value: number): void {
  figures.set(name, [...(figures.get(name) ?? []), value]);
}

async function runLlama(figures: Figures, threads: number): Promise<void> {
  const { LLAMA_BATCHED_BENCH: tool, LLAMA_GGUF: model } = process.env;
  if (!tool || !model) return;
  const shared = ['-m', model, '-ngl', '0', '-t', `${threads}`, '-tb', `${threads}`, '-b', '2048', '-ub', '512'];
  const run = async (...flags: readonly string[]) => {
    const { stdout } = await execute(tool, [...shared, '--output-format', 'jsonl', ...flags], { maxBuffer: 1 << 26 });
    return stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
  };
  for (const { name, prompt } of loads) {
    for (const row of await run('-c', '8192', '-npp', prompt, '-ntg', '48', '-npl', batches.join(','))) {
      add(figures, `llama ${threads} ${name} batch ${row.pl}`, row.speed_tg);
    }
  }
  for (const row of await run('-c', '1024', '-npp', '512', '-ntg', '4', '-npl', '1')) {
    add(figures, `llama ${threads} apart prefill`, row.speed_pp);
  }
}

async function besideBusyProcess(figures: Figures, folder: string): Promise<void> {
  const busy = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
  try {
    note(figures, 'disturbed 2', await runScript<EngineRun>('engine-run.ts', '--package', folder, '--batches', '1,8'));
  } finally {
    busy.kill('SIGKILL');
  }
}

function print(medians: ReadonlyMap<string, number>): void {
  const ratio = (a: string, b: string): string =>
    medians.has(b) ? (medians.get(a)! / medians.get(b)!).toFixed(2) : '-';
  const decodes = loads.flatMap(({ name }) => batches.map((batch) => `${name} batch ${batch}`));
  for (const ranks of [1, 2]) {
    for (const what of [...decodes, 'apart prefill']) {
      const [ours, llama] = [`ours ${ranks} ${what}`, `llama ${ranks} ${what}`];
      console.log(`${ours}: ${medians.get(ours)?.toFixed(0)} tokens/s, ${ratio(ours, llama)} of llama.cpp`);
    }
  }
  for (const batch of [1, 8]) {
    console.log(
      `two ranks disturbed, batch ${batch}: ${ratio(`disturbed 2 batch ${batch}`, `ours 1 apart batch ${batch}`)} of one rank undisturbed`,
    );
  }
}
