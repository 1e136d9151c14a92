/** A real NATS server for a test. */
import { connect } from 'node:net';
import { findCommand } from './process.ts';
import { startServer, type TestServer } from './server.ts';

const askTimeoutMs = 1000;

export interface TestNats {
  readonly url: string;
  readonly server: TestServer;
}

/** Throws with what to install when there is no nats-server. The caller stops it: `await nats.server.stop()`. */
export async function startNats(): Promise<TestNats> {
  const server = await startServer({
    command: findCommand('nats-server', 'nats-server'),
    args: (port) => ['--addr', '127.0.0.1', '--port', String(port)],
    ask: greeting,
  });
  return { url: `nats://127.0.0.1:${server.port}`, server };
}

/** A NATS server speaks first: INFO and a line of JSON. */
async function greeting(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(askTimeoutMs, () => socket.destroy(new Error('no greeting')));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without a greeting')));
    socket.once('data', (chunk) => {
      if (chunk.toString().startsWith('INFO ')) resolve();
      else reject(new Error('not a NATS server'));
      socket.destroy();
    });
  });
}
