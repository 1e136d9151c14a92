/** Ports for servers that cannot choose one themselves. */
import { createServer } from 'node:net';

/** A TCP port of 127.0.0.1 that nobody listens on now. Somebody may take it before it is used: be ready to try another. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}
