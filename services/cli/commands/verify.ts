import { type Command, Option } from 'commander';
import type { Activations, WeightFormat } from '../../../workers/models/manifest.ts';
import type { ScenarioReport } from '../../../workers/verify/comparison.ts';
import { type Transport, type VerifyReport, verify } from '../../../workers/verify/verify.ts';
import { wholeNumber } from '../arguments.ts';
import { modelFolder } from '../hub.ts';
import { abortOnSignals } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';
import { weightsOption } from './slice.ts';

interface VerifyFlags {
  readonly model: string;
  readonly golden: string;
  readonly ranks: number;
  readonly transport: Transport;
  readonly weights: WeightFormat;
  readonly activations: Activations;
  readonly json?: boolean;
}

export function addVerify(program: Command, terminal: Terminal): void {
  program
    .command('verify')
    .description('slice a checkpoint, run it, and compare logits, routing and greedy tokens with a golden file')
    .requiredOption('--model <place>', 'checkpoint, folder or GGUF file, or ORG/NAME of the Hub')
    .requiredOption('--golden <file>', 'expected values, of the form in test/goldens')
    .option('--ranks <count>', 'slices', wholeNumber(1, 1024), 1)
    .addOption(new Option('--transport <way>', 'how ranks meet').choices(['threads', 'tcp']).default('threads'))
    .addOption(weightsOption('fp32'))
    .addOption(
      new Option('--activations <format>', 'how rows are multiplied with weights in blocks: as served, or exactly')
        .choices(['int8', 'fp32'])
        .default('int8'),
    )
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExit status 0 when every scenario agrees, 1 when one departs.')
    .action((flags: VerifyFlags) => runVerify(flags, terminal));
}

async function runVerify({ json, ...flags }: VerifyFlags, terminal: Terminal): Promise<void> {
  const signal = abortOnSignals();
  const model = await modelFolder(flags.model, terminal, signal);
  const report = await verify({ ...flags, model, signal });
  if (json) terminal.json(report);
  else printReport(report, terminal);
  if (!report.passed) process.exitCode = 1;
}

function printReport(report: VerifyReport, terminal: Terminal): void {
  terminal.line(
    `${report.golden}: ${report.ranks} ranks over ${report.transport}, ${report.weights}, products in ${report.activations}, tolerance ${report.tolerance}`,
  );
  terminal.table(
    ['scenario', 'result', 'logit error', 'best tokens', 'greedy tokens', 'first departure'],
    report.scenarios.map(scenarioRow),
  );
  terminal.line(report.passed ? 'agrees' : 'departs');
}

function scenarioRow(scenario: ScenarioReport): string[] {
  const { argmaxDepartures, continuationEqual, firstDeparture } = scenario;
  return [
    scenario.scenario,
    scenario.passed ? 'agrees' : 'departs',
    scenario.logitError.toExponential(2),
    argmaxDepartures.length === 0 ? 'equal' : `differ at ${argmaxDepartures.join(', ')}`,
    continuationEqual ? 'equal' : 'differ',
    firstDeparture
      ? `layer ${firstDeparture.layer} (${firstDeparture.what}, ${firstDeparture.error.toExponential(2)})`
      : '',
  ];
}
