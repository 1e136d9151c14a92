import type { Command } from 'commander';
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
    .description('say what a checkpoint or package is: a folder, or ORG/NAME of the Hub')
    .option('--json', 'print the result as JSON')
    .action(async (model: string, { json }: { json?: boolean }) => {
      const found = await inspect(await modelFolder(model, terminal, abortOnSignals()));
      if (json) return terminal.json(found);
      terminal.line(`${found.name}: ${found.kind}`);
      printModel(found.model, terminal);
      if (found.kind === 'checkpoint') printCheckpoint(found, terminal);
      else printPackage(found, terminal);
    });
}

function printModel(model: ModelFacts, terminal: Terminal): void {
  terminal.line(`family       ${model.family}`);
  terminal.line(`parameters   ${model.parameters.toLocaleString('en')}`);
  terminal.line(`shape        ${model.layers} layers, hidden ${model.hiddenSize}, vocabulary ${model.vocabularySize}`);
  terminal.line(`context      ${model.contextLength} tokens`);
  terminal.line(`legal rank counts: ${model.legalRankCounts.join(', ')}`);
}

function printCheckpoint({ storedTypes, storedBytes, estimates }: CheckpointInspection, terminal: Terminal): void {
  terminal.line(`stored       ${mebibytes(storedBytes)} of ${storedTypes.join(', ')}\n`);
  terminal.table(
    ['ranks', 'MiB a rank: fp32', 'int8', 'int4', 'KV bytes a token and rank'],
    estimates.map(({ ranks, weightBytes, kvBytesPerToken }) => [
      String(ranks),
      ...[weightBytes.fp32, weightBytes.int8, weightBytes.int4].map((bytes) => (bytes / 2 ** 20).toFixed(1)),
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
