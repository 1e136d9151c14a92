/** What startEtcd and startNats share: a real server on a free port, started when it answers, restarted on the same port. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { type ProcessEnd, startProcess, type TestProcess } from './process.ts';

const readyLimitMs = 10_000;
const pollMs = 10;
const portAttempts = 3;

export interface ServerKind {
  readonly command: string;
  args(port: number, dataFolder: string): readonly string[];
  /** Resolves when the server answers on this port; rejects otherwise. */
  ask(port: number): Promise<void>;
}

export class TestServer {
  readonly port: number;
  readonly dataFolder: string;
  #process: TestProcess;
  readonly #kind: ServerKind;

  constructor(kind: ServerKind, port: number, dataFolder: string, running: TestProcess) {
    this.port = port;
    this.dataFolder = dataFolder;
    this.#kind = kind;
    this.#process = running;
  }

  /** Stands still with its connections open. */
  pause(): void {
    this.#process.pause();
  }

  resume(): void {
    this.#process.resume();
  }

  /** Ends the process and keeps its data. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<ProcessEnd> {
    this.#process.kill(signal);
    return this.#process.exited;
  }

  /** Starts again on the same port; with its data unless forget is set. */
  async start({ forget = false } = {}): Promise<void> {
    if (forget) rmSync(this.dataFolder, { recursive: true, force: true });
    this.#process = launch(this.#kind, this.port, this.dataFolder);
    await untilReady(this.#kind, this.port, this.#process);
  }

  /** Ends the process and removes its data. */
  async stop(): Promise<void> {
    await this.#process.stop();
    rmSync(this.dataFolder, { recursive: true, force: true });
  }
}

/** Another process may take the free port first: then with another port. */
export async function startServer(kind: ServerKind): Promise<TestServer> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const dataFolder = mkdtempSync(path.join(tmpdir(), `trireme-${path.basename(kind.command)}-`));
    const running = launch(kind, port, dataFolder);
    try {
      await untilReady(kind, port, running);
      return new TestServer(kind, port, dataFolder, running);
    } catch (error) {
      await running.stop();
      rmSync(dataFolder, { recursive: true, force: true });
      if (attempt === portAttempts || !/address already in use/.test(running.output)) throw error;
    }
  }
}

function launch(kind: ServerKind, port: number, dataFolder: string): TestProcess {
  return startProcess(kind.command, kind.args(port, dataFolder));
}

async function untilReady(kind: ServerKind, port: number, running: TestProcess): Promise<void> {
  const endMs = performance.now() + readyLimitMs;
  for (;;) {
    if (running.end) throw new Error(`${kind.command} ended: ${JSON.stringify(running.end)}\n${running.output}`);
    try {
      await kind.ask(port);
      return;
    } catch (cause) {
      const message = `${kind.command} did not answer within ${readyLimitMs} ms:\n${running.output}`;
      if (performance.now() > endMs) throw new Error(message, { cause });
    }
    await sleep(pollMs);
  }
}
