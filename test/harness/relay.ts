/** A TCP relay on 127.0.0.1 between a client and a server, to take the network away from under a connection. */
import { connect, createServer, type Server, type Socket } from 'node:net';

type Mode = 'pass' | 'refuse' | 'swallow';

export class Relay {
  readonly port: number;
  #mode: Mode = 'pass';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(targetPort: number): Promise<Relay> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
    const relay = new Relay(server, address.port);
    server.on('connection', (client) => relay.#connect(client, targetPort));
    return relay;
  }

  /** Breaks every connection and refuses new ones. */
  cut(): void {
    this.#mode = 'refuse';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Bytes vanish, connections stay: what a dead network looks like. */
  swallow(): void {
    this.#mode = 'swallow';
  }

  /** New connections work again; those that lost bytes are broken. */
  restore(): void {
    if (this.#mode === 'swallow') for (const socket of this.#sockets) socket.destroy();
    this.#mode = 'pass';
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #connect(client: Socket, targetPort: number): void {
    if (this.#mode === 'refuse') return void client.destroy();
    const target = connect({ host: '127.0.0.1', port: targetPort });
    this.#forward(client, target);
    this.#forward(target, client);
  }

  #forward(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (chunk) => {
      if (this.#mode === 'pass') to.write(chunk);
    });
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      // One side's end is the other's, unless the network is dead: then nobody learns of it.
      if (this.#mode !== 'swallow') to.destroy();
    });
  }
}
