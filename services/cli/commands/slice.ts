import { type Command, Option } from 'commander';
import type { WeightFormat } from '../../../workers/models/manifest.ts';
import { slice } from '../../../workers/slicer/slice.ts';
import { wholeNumber } from '../arguments.ts';
import { modelFolder } from '../hub.ts';
import { abortOnSignals } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';

interface SliceFlags {
  readonly model: string;
  readonly out: string;
  readonly ranks: number;
  readonly weights: WeightFormat;
  readonly json?: boolean;
}

export const weightsOption = (preset: WeightFormat): Option =>
  new Option('--weights <format>', 'how weights are stored')
    .choices(['native', 'int4', 'int8', 'fp32'])
    .default(preset);

export function addSlice(program: Command, terminal: Terminal): void {
  program
    .command('slice')
    .description('make a package out of a Hugging Face folder or a GGUF file')
    .requiredOption(
      '--model <place>',
      'folder with config.json, safetensors, tokenizer.json; a GGUF file; or ORG/NAME of the Hub',
    )
    .requiredOption('--out <folder>', 'where the package goes')
    .requiredOption('--ranks <count>', 'slices to cut it into', wholeNumber(1, 1024))
    .addOption(weightsOption('native'))
    .option('--json', 'print the result as JSON')
    .action((flags: SliceFlags) => runSlice(flags, terminal));
}

async function runSlice({ json, ...flags }: SliceFlags, terminal: Terminal): Promise<void> {
  const signal = abortOnSignals();
  const model = await modelFolder(flags.model, terminal, signal);
  const bar = terminal.progress();
  try {
    const manifest = await slice({
      ...flags,
      model,
      signal,
      onProgress: ({ doneBytes, totalBytes }) => bar.update('slicing', doneBytes, totalBytes),
    });
    bar.end();
    const weightBytes = manifest.shards.map((shard) => shard.weightBytes);
    if (json)
      return terminal.json({
        out: flags.out,
        name: manifest.name,
        ranks: flags.ranks,
        weights: flags.weights,
        weightBytes,
      });
    terminal.line(`${flags.out}: ${manifest.name}, ${flags.ranks} ranks, ${flags.weights}`);
  } finally {
    bar.end();
  }
}
