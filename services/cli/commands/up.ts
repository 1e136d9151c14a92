import path from 'node:path';
import { type Command, Option } from 'commander';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import { Lifecycle } from '#platform/lifecycle.ts';
import { parseListenAddress } from '#platform/listen.ts';
import { createLogger, type LogLevel } from '#platform/log.ts';
import { GenerateRequest } from '#proto/inference.ts';
import { modelKey } from '#proto/keys.ts';
import { ModelRecord } from '#proto/records.ts';
import type { WeightFormat } from '../../../workers/models/manifest.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, serverUrl, wholeNumber } from '../arguments.ts';
import { chatOf } from '../chat-request.ts';
import { modelFolder } from '../hub.ts';
import { reportError } from '../report-error.ts';
import { streamText } from '../stream-text.ts';
import type { Terminal } from '../terminal.ts';
import { openBackbone } from '../up/backbone.ts';
import { desiredModel, type ServingFlags, servingOptions } from '../up/desired.ts';
import { startLocal } from '../up/local.ts';
import { cachedPackage } from '../up/package-cache.ts';
import { startProcesses } from '../up/processes.ts';
import { groupsReady } from '../up/readiness.ts';
import { weightsOption } from './slice.ts';

interface UpFlags extends ServingFlags {
  readonly model: string;
  readonly package?: string;
  readonly ranks: number;
  readonly weights: WeightFormat;
  readonly groups: number;
  readonly workers?: number;
  readonly listen: string;
  readonly etcd?: string;
  readonly nats?: string;
  /** Seconds. */
  readonly wait: number;
  readonly processes?: boolean;
  readonly prompt?: string;
  readonly logLevel: LogLevel;
  readonly json?: boolean;
}

const logLevelOption = new Option('--log-level <level>', 'least severe lines to log')
  .choices(['debug', 'info', 'warn', 'error'])
  .default('warn');

/** Longer than the processes that are started here may take to drain. */
const deadlineMs = 60_000;

const demoModel = path.join(import.meta.dirname, '..', '..', '..', 'models', 'demo');

export function addUp(program: Command, terminal: Terminal): void {
  const command = program
    .command('up')
    .description('start everything; the demo model when none is named')
    .option(
      '--model <place>',
      'a checkpoint, folder or GGUF file, or ORG/NAME of the Hub; sliced once, into .trireme/packages',
      demoModel,
    )
    .option('--package <folder>', 'a package, instead of a checkpoint')
    .option('--ranks <count>', 'slices to cut the checkpoint into', wholeNumber(1, 1024), 2)
    .addOption(weightsOption('int4'))
    .option('--groups <count>', 'copies of the model', wholeNumber(1, 1024), 1)
    .option('--listen <host:port>', 'where clients connect', defaultAddress)
    .option('--etcd <url>', 'keep placement in etcd; default: in this process', serverUrl('http', 'https'))
    .option('--nats <url>', 'carry tokens over NATS; default: in this process', serverUrl('nats', 'tls'))
    .option('--wait <seconds>', 'how long to wait for etcd and NATS', wholeNumber(1, 3600), 30)
    .option('--processes', 'router, controller and workers each in a process; needs --etcd and --nats')
    .option('--workers <count>', 'with --processes: worker processes; default: one a group', wholeNumber(1, 1024))
    .option('--prompt <text>', 'answer this message as a chat, and exit')
    .addOption(logLevelOption)
    .option('--json', 'print one line of JSON when ready');
  servingOptions(command).action((flags: UpFlags) => runUp(flags, terminal));
}

async function runUp(flags: UpFlags, terminal: Terminal): Promise<void> {
  if ((flags.etcd === undefined) !== (flags.nats === undefined) || (flags.processes && !flags.etcd)) {
    throw new TriremeError('INVALID_CONFIG', 'processes meet over etcd and NATS, and need both', {
      remedy: 'Give --etcd URL and --nats URL together, or neither of them and no --processes',
    });
  }
  parseListenAddress(flags.listen);
  const log = createLogger(flags.logLevel);
  const lifecycle = new Lifecycle({ log, process, deadlineMs });
  const stopping = new AbortController();
  let failure: unknown;
  // Added first and so stopped last: processes that end after the failure have had their say before it is told.
  const tell = async (): Promise<void> => {
    if (failure !== undefined) reportError(failure, terminal, flags.json ?? false);
  };
  lifecycle.add({ name: 'report', stop: tell });
  const serving = serve(flags, { terminal, log, lifecycle, stopping });
  // What is half done is undone before the process ends: a package, for one.
  const stop = async (): Promise<void> => {
    stopping.abort(new TriremeError('CANCELLED', 'interrupted'));
    await serving.catch(() => {}); // Told below.
  };
  lifecycle.add({ name: 'command', stop });
  try {
    const isDone = await serving;
    if (isDone) await lifecycle.shutDown();
  } catch (error) {
    const { code } = TriremeError.from(error);
    if (code !== 'CANCELLED') failure = error;
    await lifecycle.shutDown(errorCodes[code].exit);
  }
}

interface UpContext {
  readonly terminal: Terminal;
  readonly log: ReturnType<typeof createLogger>;
  readonly lifecycle: Lifecycle;
  readonly stopping: AbortController;
}

/** True when there is nothing left to serve: a single prompt has been answered. */
async function serve(flags: UpFlags, { terminal, log, lifecycle, stopping }: UpContext): Promise<boolean> {
  const { signal } = stopping;
  const folder = flags.package ?? (await slicedPackage(flags, terminal, signal));
  const model = await desiredModel(folder, flags.groups, flags);
  const { store, bus } = await openBackbone(flags, log, lifecycle);
  const { address, pids } = flags.processes
    ? startProcesses(
        { ...flags, etcd: flags.etcd!, nats: flags.nats!, ranks: model.ranks },
        terminal,
        lifecycle,
        (error) => stopping.abort(error),
      )
    : {
        address: await startLocal({
          listen: flags.listen,
          rankCapacity: model.ranks * model.groups,
          store,
          bus,
          log,
          lifecycle,
        }),
        pids: undefined,
      };
  await store.put(modelKey(model.name), ModelRecord.encode(model).finish());
  await groupsReady(store, model, (line) => terminal.note(line), signal);
  lifecycle.becomeReady();
  if (flags.prompt !== undefined) {
    await answer(address, flags.prompt, terminal);
    return true;
  }
  if (flags.json) terminal.json({ address, model: model.name, processes: pids?.() });
  else printInvitation(address, terminal);
  return false;
}

async function slicedPackage(flags: UpFlags, terminal: Terminal, signal: AbortSignal): Promise<string> {
  const model = await modelFolder(flags.model, terminal, signal);
  return cachedPackage({ ...flags, model }, terminal, signal);
}

async function answer(address: string, prompt: string, terminal: Terminal): Promise<void> {
  const client = new TriremeClient(address);
  const request = GenerateRequest.fromPartial({ prompt: { $case: 'chat', value: await chatOf(prompt) } });
  await streamText(client.generate(request), 1, terminal);
  client.close();
}

function printInvitation(address: string, terminal: Terminal): void {
  const at = address === defaultAddress ? '' : ` --address ${address}`;
  terminal.line(`Trireme serves on ${address}. Three things to try in another terminal:

  scripts/trireme generate${at} --chat "What is 17 + 25?"
  scripts/trireme status${at}
  grpcurl -plaintext ${address} list

Ctrl-C ends it.`);
}
