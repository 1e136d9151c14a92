/** Child processes of tests: captured output, waiting for a line, signals by pid; none outlives the test process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** Output beyond this is forgotten from the front. */
const maxOutputLength = 1 << 20;
const stopGraceMs = 5000;
/** Debian puts servers where the PATH of a user does not look. */
const extraFolders = ['/usr/local/bin', '/usr/sbin', '/usr/local/sbin'];

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface ProcessEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

const running = new Set<ChildProcess>();
function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
process.once('exit', killAll);
for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    killAll();
    process.exit(1);
  });
}

/** The file of a command, looked for in PATH and where servers live. Throws with what to install. */
export function findCommand(name: string, debianPackage: string): string {
  for (const folder of [...(process.env.PATH ?? '').split(path.delimiter), ...extraFolders]) {
    const file = path.join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder; the next one may have it.
    }
  }
  throw new Error(`${name} is not installed, and this test needs it; run: apt-get install ${debianPackage}`);
}

export class TestProcess {
  readonly exited: Promise<ProcessEnd>;
  #output = '';
  #end: ProcessEnd | undefined;
  readonly #child: ChildProcess;
  readonly #command: string;
  readonly #onOutput = new Set<() => void>();

  constructor(command: string, args: readonly string[], options: ProcessOptions) {
    const env = { ...process.env, ...options.env };
    this.#command = `${path.basename(command)} ${args.join(' ')}`;
    this.#child = spawn(command, args, { env, cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => this.#append(chunk));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => this.#append(`${error.message}\n`));
      this.#child.once('close', (status, signal) => {
        running.delete(this.#child);
        this.#end = { status, signal };
        for (const onOutput of this.#onOutput) onOutput();
        resolve(this.#end);
      });
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`could not start ${this.#command}: ${this.#output}`);
    return this.#child.pid;
  }

  /** How it ended; undefined while it runs. */
  get end(): ProcessEnd | undefined {
    return this.#end;
  }

  /** stdout and stderr as they came. */
  get output(): string {
    return this.#output;
  }

  /** The first match in the output so far or to come. Throws when the process ends or timeoutMs passes without one. */
  async waitForLine(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const fail = (why: string): void => reject(new Error(`${this.#command}: ${why}; its output:\n${this.#output}`));
    const look = (): void => {
      const match = pattern.exec(this.#output);
      if (match) resolve(match);
      else if (this.#end) fail(`ended with ${JSON.stringify(this.#end)} before ${pattern}`);
    };
    const timer = setTimeout(() => fail(`no ${pattern} within ${timeoutMs} ms`), timeoutMs);
    this.#onOutput.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#onOutput.delete(look);
    }
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** The process stands still, its sockets stay open. */
  pause(): void {
    this.kill('SIGSTOP');
  }

  resume(): void {
    this.kill('SIGCONT');
  }

  /** SIGTERM, then SIGKILL after 5 s; resolves when it is gone. */
  async stop(): Promise<ProcessEnd> {
    this.resume();
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), stopGraceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  #append(chunk: string): void {
    this.#output = (this.#output + chunk).slice(-maxOutputLength);
    for (const onOutput of this.#onOutput) onOutput();
  }
}

export function startProcess(command: string, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return new TestProcess(command, args, options);
}
