/** A real etcd for a test. */
import { findCommand } from './process.ts';
import { startServer, type TestServer } from './server.ts';

const healthTimeoutMs = 1000;

export interface TestEtcd {
  readonly url: string;
  readonly server: TestServer;
  /** Writes from elsewhere; resolves to the revision. */
  put(key: string, value: string): Promise<number>;
  /** Forgets the history before this revision. */
  compact(revision: number): Promise<void>;
  /** Ends a lease from elsewhere. */
  revokeLease(id: string): Promise<void>;
}

/** Throws with what to install when there is no etcd. The caller stops it: `await etcd.server.stop()`. */
export async function startEtcd(): Promise<TestEtcd> {
  const server = await startServer({
    command: findCommand('etcd', 'etcd-server'),
    args: (port, dataFolder) => [
      ...['--data-dir', dataFolder, '--log-level', 'error', '--logger', 'zap'],
      ...['--listen-client-urls', clientUrl(port), '--advertise-client-urls', clientUrl(port)],
      // Nobody joins: any port will do for peers.
      ...['--listen-peer-urls', 'http://127.0.0.1:0', '--initial-advertise-peer-urls', 'http://127.0.0.1:0'],
      ...['--initial-cluster', 'default=http://127.0.0.1:0'],
    ],
    ask: async (port) => {
      const answer = await fetch(`${clientUrl(port)}/health`, { signal: AbortSignal.timeout(healthTimeoutMs) });
      if (!answer.ok) throw new Error(`health: ${answer.status}`);
    },
  });
  const url = clientUrl(server.port);
  return {
    url,
    server,
    put: async (key, value) => {
      const answer = await post(url, 'kv/put', { key: toBase64(key), value: toBase64(value) });
      return Number(answer.header?.revision);
    },
    compact: async (revision) => void (await post(url, 'kv/compaction', { revision: String(revision) })),
    revokeLease: async (id) => void (await post(url, 'lease/revoke', { ID: id })),
  };
}

/** etcd speaks JSON too; it is another client's view, not the one under test. */
async function post(url: string, method: string, body: object): Promise<{ header?: { revision: string } }> {
  const answer = await fetch(`${url}/v3/${method}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as { header?: { revision: string } };
}

function clientUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}
