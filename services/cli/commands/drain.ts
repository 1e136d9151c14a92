import type { Command } from 'commander';
import { systemClock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { DrainStarted, DrainTarget, StatusResponse } from '#proto/operations.ts';
import { GroupState } from '#proto/records.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, serverAddress, wholeNumber } from '../arguments.ts';
import { abortOnSignals } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';

interface DrainFlags {
  readonly address: string;
  /** Seconds. */
  readonly within: number;
  readonly undo?: boolean;
  readonly wait: boolean;
}

type Target = NonNullable<DrainTarget['target']>;

const lookEveryMs = 250;
/** After the drain's own time: what the controller may take to see it and to end what is left. */
const endingMs = 30_000;

export function addDrain(program: Command, terminal: Terminal): void {
  program
    .command('drain <name>')
    .description('take a group, a worker or a router (host:port) out of service without failing a request')
    .option('--address <host:port>', 'a router', serverAddress, defaultAddress)
    .option(
      '--within <seconds>',
      'how long requests may go on there; then they go on elsewhere',
      wholeNumber(0, 86_400),
      30,
    )
    .option('--undo', 'give a worker or a router work again')
    .option('--no-wait', 'return as soon as the drain has begun')
    .addHelpText('after', '\nA group forms anew afterwards, as long as its model wants it. See: trireme status')
    .action((name: string, flags: DrainFlags) => runDrain(name, flags, terminal));
}

async function runDrain(name: string, flags: DrainFlags, terminal: Terminal): Promise<void> {
  const isRouter = name.includes(':');
  const client = new TriremeClient(isRouter ? serverAddress(name) : flags.address);
  try {
    const target: Target = isRouter ? { $case: 'router', value: {} } : targetNamed(name, await client.status());
    const limitMs = flags.within * 1000;
    const started = await client.drain({ target, limitMs, undo: flags.undo ?? false });
    const what = `${target.$case} ${name}`;
    if (flags.undo) return terminal.line(`${what}: takes work again`);
    if (!flags.wait) return terminal.line(`${what}: drains, within ${flags.within} s`);
    await drained(client, target, started, limitMs + endingMs);
    terminal.line(`${what}: drained`);
  } finally {
    client.close();
  }
}

function targetNamed(name: string, { groups, workers }: StatusResponse): Target {
  const isGroup = groups.some(({ record }) => record?.group === name);
  const isWorker = workers.some(({ id }) => id === name);
  if (isGroup && isWorker) {
    throw new TriremeError('INVALID_ARGUMENT', `a group and a worker are both named ${name}`, {
      remedy: 'Start the worker under another --id',
    });
  }
  if (isGroup) return { $case: 'group', value: name };
  if (isWorker) return { $case: 'worker', value: name };
  const known = [...groups.map(({ record }) => record?.group), ...workers.map(({ id }) => id)];
  throw new TriremeError('UNKNOWN_TARGET', `there is no group or worker ${name}`, {
    remedy: `There are: ${known.join(', ') || 'none'}. A router is named by its host:port`,
  });
}

/** Looks until nothing is left there. Errors: DEADLINE_EXCEEDED, those of status(). */
async function drained(client: TriremeClient, target: Target, started: DrainStarted, limitMs: number): Promise<void> {
  const signal = abortOnSignals();
  const endMs = systemClock.now() + limitMs;
  for (;;) {
    if (isDrained(await client.status(), target, started)) return;
    if (systemClock.now() > endMs) {
      throw new TriremeError('DEADLINE_EXCEEDED', `not drained after ${limitMs / 1000} s`, {
        remedy: 'See trireme status; without a controller nothing ends a group',
      });
    }
    await systemClock.sleep(lookEveryMs, signal);
  }
}

export function isDrained(
  { groups, router }: StatusResponse,
  target: Target,
  { epoch, incarnation }: DrainStarted,
): boolean {
  const alive = groups.flatMap(({ record }) => {
    return record && record.state !== GroupState.GROUP_STATE_DEAD ? [record] : [];
  });
  switch (target.$case) {
    case 'group':
      return !alive.some((record) => record.group === target.value && record.epoch === epoch);
    case 'worker':
      return !alive.some(({ ranks }) => ranks.some((rank) => rank.incarnation === incarnation));
    case 'router':
      return (router?.activeRequests ?? 0) + (router?.queuedRequests ?? 0) === 0;
  }
}
