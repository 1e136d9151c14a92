/** Which processes a system on one machine has, with which flags. */
import { systemClock } from '#platform/clock.ts';
import type { Lifecycle } from '#platform/lifecycle.ts';
import type { Terminal } from '../terminal.ts';
import { type ProcessPlan, Supervisor, type SupervisorOptions } from './supervisor.ts';

export interface ProcessesOptions {
  readonly listen: string;
  readonly etcd: string;
  readonly nats: string;
  readonly logLevel: string;
  /** Ranks of one group. */
  readonly ranks: number;
  readonly groups: number;
  /** Worker processes; one a group when left out. */
  readonly workers?: number;
}

const restartAfterMs = 1000;

export interface StartedProcesses {
  readonly address: string;
  /** By name, as of now: a process that ended and was started again has another. */
  pids(): Readonly<Record<string, number | undefined>>;
}

/** Every process waits for etcd and NATS itself. The lifecycle ends them all. */
export function startProcesses(
  options: ProcessesOptions,
  terminal: Terminal,
  lifecycle: Lifecycle,
  onRefused: SupervisorOptions['onRefused'],
): StartedProcesses {
  const supervisor = new Supervisor({
    clock: systemClock,
    restartAfterMs,
    onEvent: (line) => terminal.note(line),
    onRefused,
  });
  lifecycle.add({ name: 'processes', stop: () => supervisor.stop() });
  for (const plan of planProcesses(options)) supervisor.start(plan);
  return { address: options.listen, pids: () => supervisor.pids() };
}

/** Router, controller, and as many workers as hold every rank together. */
export function planProcesses(options: ProcessesOptions): ProcessPlan[] {
  const { listen, etcd, nats, logLevel, ranks, groups, workers = groups } = options;
  const store = [`--etcd-url=${etcd}`, `--log-level=${logLevel}`];
  const both = [...store, `--nats-url=${nats}`];
  const capacity = Math.ceil((ranks * groups) / workers);
  return [
    { name: 'router', main: 'services/router/main.ts', flags: [`--listen=${listen}`, ...both] },
    { name: 'controller', main: 'services/controller/main.ts', flags: store },
    ...Array.from({ length: workers }, (_, i) => ({
      name: `worker-${i}`,
      main: 'workers/worker/main.ts',
      flags: [`--id=worker-${i}`, `--rank-capacity=${capacity}`, ...both],
    })),
  ];
}
