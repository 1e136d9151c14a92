/** A whole system of real processes: etcd, NATS, and `trireme up --processes`. */
import path from 'node:path';
import { TriremeClient } from '../../services/client/client.ts';
import { startEtcd, type TestEtcd } from '../harness/etcd.ts';
import { freePort } from '../harness/free-port.ts';
import { startNats, type TestNats } from '../harness/nats.ts';
import { startProcess, type TestProcess } from '../harness/process.ts';

const root = path.join(import.meta.dirname, '..', '..');
const startLimitMs = 90_000;
const portAttempts = 3;

/** The command line, on the Node that runs this test. */
export function trireme(...flags: readonly string[]): TestProcess {
  return startProcess(process.execPath, [path.join(root, 'services/cli/main.ts'), ...flags], { cwd: root });
}

export class TestSystem {
  readonly address: string;
  readonly client: TriremeClient;
  readonly up: TestProcess;
  readonly #etcd: TestEtcd;
  readonly #nats: TestNats;

  private constructor(address: string, up: TestProcess, etcd: TestEtcd, nats: TestNats) {
    this.address = address;
    this.client = new TriremeClient(address);
    this.up = up;
    this.#etcd = etcd;
    this.#nats = nats;
  }

  /** Resolves when every group is Ready. Another process may take the free port first: then with another port. */
  static async start(...flags: readonly string[]): Promise<TestSystem> {
    for (let attempt = 1; ; attempt++) {
      const system = await TestSystem.#launch(flags);
      try {
        await system.up.waitForLine(/^\{"address".*$/m, startLimitMs);
        return system;
      } catch (error) {
        await system.stop();
        if (attempt === portAttempts || !system.up.output.includes('PORT_IN_USE')) throw error;
      }
    }
  }

  static async #launch(flags: readonly string[]): Promise<TestSystem> {
    const [etcd, nats, port] = await Promise.all([startEtcd(), startNats(), freePort()]);
    const address = `127.0.0.1:${port}`;
    const servers = ['--processes', '--etcd', etcd.url, '--nats', nats.url, '--listen', address];
    const up = trireme('up', ...servers, '--json', ...flags);
    return new TestSystem(address, up, etcd, nats);
  }

  /** Of the process with this name that was started last. */
  pidOf(name: string): number {
    const starts = [...this.up.output.matchAll(new RegExp(`${name} started, pid (\\d+)`, 'g'))];
    return Number(starts.at(-1)?.[1]);
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.up.stop();
    await Promise.all([this.#etcd.server.stop(), this.#nats.server.stop()]);
  }
}
