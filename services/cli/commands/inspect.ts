import type { Command } from 'commander';
import type { SplitChoice } from '../../../workers/models/shard.ts';
import type { Deployment } from '../../../workers/slicer/deployment.ts';
import {
  type CheckpointInspection,
  inspect,
  type ModelFacts,
  type PackageInspection,
} from '../../../workers/slicer/inspect.ts';
import { modelFolder } from '../hub.ts';
import { abortOnSignals } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';

export function addInspect(program: Command, terminal: Terminal): void {
  program
    .command('inspect <model>')
    .description('say what a checkpoint, a config.json or a package is: a folder, a GGUF file, or ORG/NAME of the Hub')
    .option('--json', 'print the result as JSON')
    .action(async (model: string, { json }: { json?: boolean }) => {
      const found = await inspect(await modelFolder(model, terminal, abortOnSignals()));
      if (json) return terminal.json(found);
      terminal.line(`${found.name}: ${found.kind}`);
      printModel(found.model, terminal);
      if (found.kind === 'package') return printPackage(found, terminal);
      if (found.kind === 'checkpoint') printCheckpoint(found, terminal);
      printDeployments(found.deployments, terminal);
    });
}

function printModel(model: ModelFacts, terminal: Terminal): void {
  terminal.line(`family       ${model.family}`);
  terminal.line(`parameters   ${model.parameters.toLocaleString('en')}`);
  terminal.line(`shape        ${model.layers} layers, hidden ${model.hiddenSize}, vocabulary ${model.vocabularySize}`);
  terminal.line(`context      ${model.contextLength} tokens`);
  terminal.line(`legal rank counts: ${model.legalRankCounts.join(', ')}`);
  for (const [reason, counts] of refusals(model)) terminal.line(`not ${rangesOf(counts)}: ${reason}`);
}

/** Counts that are refused for the same reason, which names the count at its end. */
function refusals({ refusedRankCounts }: ModelFacts): ReadonlyMap<string, readonly number[]> {
  const byReason = new Map<string, number[]>();
  for (const { ranks, reason } of refusedRankCounts) {
    const shared = reason.replace(/ \d+$/, ' them');
    byReason.set(shared, [...(byReason.get(shared) ?? []), ranks]);
  }
  return byReason;
}

/** 3, 5-7, 9 */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const open = ranges.at(-1);
    if (open && open[1] === number - 1) open[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}

/** FP8 and int4 have blocks of the same width, so ranks share experts alike. */
function printDeployments(deployments: readonly Deployment[], terminal: Terminal): void {
  terminal.line('\nas deployed on GPUs, in bf16, FP8 (blocks of 128 x 128) and int4 (groups of 128), KV in bf16:\n');
  const cell = (choice: SplitChoice | undefined): string => (choice ? `${choice.split}, ${choice.share}` : '');
  const hasExperts = deployments.some(({ experts }) => experts);
  terminal.table(
    [
      'ranks',
      'GiB a rank: bf16',
      'fp8',
      'int4',
      'KV bytes a token and rank',
      ...(hasExperts ? ['experts: bf16', 'fp8, int4'] : []),
    ],
    deployments.map(({ ranks, weightBytes, kvBytesPerToken, experts }) => [
      String(ranks),
      ...[weightBytes.bf16, weightBytes.fp8, weightBytes.int4].map(gibibytes),
      String(kvBytesPerToken),
      ...(hasExperts ? [cell(experts?.bf16), cell(experts?.fp8)] : []),
    ]),
  );
  for (const { ranks, experts } of deployments) {
    if (experts?.fp8.split === 'spread') terminal.line(`${ranks} ranks, fp8 and int4: spread, as ${experts.fp8.why}`);
  }
  const [first] = deployments;
  if (first && first.indexBytesPerToken > 0) {
    terminal.line(`keys of indexers: ${first.indexBytesPerToken} bytes a token more on every rank`);
  }
  if (first && first.stateBytesPerSequence > 0) {
    terminal.line(`states of delta nets: ${mebibytes(first.stateBytesPerSequence)} a sequence, shared among the ranks`);
  }
}

function gibibytes(bytes: number): string {
  const size = bytes / 2 ** 30;
  return size >= 1 ? size.toFixed(1) : size.toPrecision(2);
}

function printCheckpoint({ storedTypes, storedBytes, estimates }: CheckpointInspection, terminal: Terminal): void {
  terminal.line(`stored       ${mebibytes(storedBytes)} of ${storedTypes.join(', ')}\n`);
  terminal.table(
    ['ranks', 'MiB a rank: native', 'fp32', 'int8', 'int4', 'KV bytes a token and rank'],
    estimates.map(({ ranks, weightBytes, kvBytesPerToken }) => [
      String(ranks),
      ...[weightBytes.native, weightBytes.fp32, weightBytes.int8, weightBytes.int4].map((bytes) =>
        (bytes / 2 ** 20).toFixed(1),
      ),
      String(kvBytesPerToken),
    ]),
  );
}

function printPackage({ weights, packageBytes, shards, provenance }: PackageInspection, terminal: Terminal): void {
  terminal.line(`weights      ${weights} (${provenance.quantisation})`);
  terminal.line(
    `source       ${provenance.source}, revision ${provenance.revision ?? 'unknown'}, licence ${provenance.licence ?? 'unknown'}`,
  );
  terminal.line(`size         ${mebibytes(packageBytes)}\n`);
  terminal.table(
    ['rank', 'weights', 'KV bytes a token'],
    shards.map(({ rank, weightBytes, kvBytesPerToken }) => [
      String(rank),
      mebibytes(weightBytes),
      String(kvBytesPerToken),
    ]),
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
