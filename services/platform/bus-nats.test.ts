import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { busContract } from '../../test/contract/bus-contract.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { freePort } from '../../test/harness/free-port.ts';
import { startNats, type TestNats } from '../../test/harness/nats.ts';
import { Relay } from '../../test/harness/relay.ts';
import type { Bus } from './bus.ts';
import { connectNatsBus } from './bus-nats.ts';
import { createLogger } from './log.ts';

const log = createLogger('silent');
const byte = (value: number): Uint8Array => new Uint8Array([value]);

busContract('NATS', async () => {
  const nats = await startNats();
  const open = () => connectNatsBus({ urls: [nats.url], log });
  const [bus, other] = await Promise.all([open(), open()]);
  return {
    bus,
    other,
    openAnother: open,
    stop: async () => {
      await Promise.all([bus.close(), other.close()]);
      await nats.server.stop();
    },
  };
});

describe('when NATS or the way to it fails', () => {
  let nats: TestNats;
  let relay: Relay;
  let bus: Bus;
  let direct: Bus;
  let seen: number[];
  beforeAll(async () => {
    nats = await startNats();
    relay = await Relay.start(nats.server.port);
    bus = await connectNatsBus({ urls: [`nats://127.0.0.1:${relay.port}`], log });
    direct = await connectNatsBus({ urls: [nats.url], log });
    direct.subscribe('up', (payload) => seen.push(payload[0] ?? -1));
    await direct.flush();
  });
  beforeEach(() => {
    seen = [];
  });
  afterAll(async () => {
    await bus.close();
    await direct.close();
    await relay.stop();
    await nats.server.stop();
  });
  const away = () => eventually(() => expect(bus.connected).toBe(false), 10_000);
  const back = () => eventually(() => expect(bus.connected).toBe(true), 10_000);

  test('what is published while it is away is dropped, not sent later; subscriptions come back with it', async () => {
    const down: number[] = [];
    const changes: boolean[] = [];
    bus.onConnection((connected) => changes.push(connected));
    bus.subscribe('down', (payload) => down.push(payload[0] ?? -1));
    await bus.flush();
    relay.cut();
    await away();
    bus.publish('up', byte(1));
    bus.subscribe('down', (payload) => down.push(10 + (payload[0] ?? -1)));
    relay.restore();
    await back();
    await bus.flush();
    bus.publish('up', byte(2));
    direct.publish('down', byte(3));
    await eventually(() => expect([seen, down.toSorted((a, b) => a - b)]).toEqual([[2], [3, 13]]));
    expect(changes).toEqual([false, true]);
  });

  test('a request under way fails at once when the connection breaks', async () => {
    direct.subscribe('silent', () => {});
    await direct.flush();
    const request = bus.request('silent', byte(1), 60_000);
    await eventually(() => bus.flush());
    relay.cut();
    await expect(request).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await expect(bus.request('silent', byte(1), 1000)).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    await expect(bus.flush()).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
    relay.restore();
    await back();
  });

  test('a dead network is noticed within seconds, though no byte says so', async () => {
    relay.swallow();
    const startMs = performance.now();
    await away();
    expect(performance.now() - startMs).toBeLessThan(6000);
    relay.restore();
    await back();
    await bus.flush();
    bus.publish('up', byte(1));
    await eventually(() => expect(seen).toEqual([1]));
  });

  test('a server that stands still gets at most 32 MiB; the rest is dropped and memory stays flat', async () => {
    nats.server.pause();
    const payload = new Uint8Array(256 << 10);
    const beforeBytes = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 1000; i++) {
      bus.publish('up', payload);
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(process.memoryUsage().arrayBuffers - beforeBytes).toBeLessThan(64 << 20);
    nats.server.resume();
    await eventually(async () => {
      await bus.flush();
      await direct.flush();
    }, 10_000);
    // 128 fill the bound; a few more may have found room in the buffers of the two sockets.
    expect(seen.length).toBeLessThanOrEqual(128 + 32);
  });

  test('far more than 32 MiB pass while the server takes them', async () => {
    const payload = new Uint8Array(1 << 20).fill(5);
    for (let i = 0; i < 80; i++) {
      bus.publish('up', payload);
      if (i % 16 === 15) await bus.flush();
    }
    await eventually(() => expect(seen).toHaveLength(80), 10_000);
  });

  test('a restart of the server is survived on both sides', async () => {
    await nats.server.kill();
    await away();
    await nats.server.start();
    await back();
    await eventually(async () => {
      bus.publish('up', byte(4));
      await bus.flush();
      expect(seen).toContain(4);
    }, 10_000);
  });
});

describe('at start and end', () => {
  test('an absent NATS is waited for, then named with a remedy', async () => {
    const url = `nats://127.0.0.1:${await freePort()}`;
    await expect(connectNatsBus({ urls: [url], log, startLimitMs: 500 })).rejects.toMatchObject({
      code: 'BUS_UNAVAILABLE',
      message: `NATS at ${url} did not answer within 500 ms`,
      remedy: 'start NATS there, or configure the address where it is',
    });
  });

  test('closing sends what was published before, and a bus that is away closes too', async () => {
    const nats = await startNats();
    const [bus, listener] = await Promise.all([1, 2].map(() => connectNatsBus({ urls: [nats.url], log })));
    let count = 0;
    listener!.subscribe('s', () => count++);
    await listener!.flush();
    for (let i = 0; i < 1000; i++) bus!.publish('s', new Uint8Array(1000));
    await bus!.close();
    await eventually(() => expect(count).toBe(1000));
    await nats.server.stop();
    await eventually(() => expect(listener!.connected).toBe(false));
    await listener!.close();
  });
});
