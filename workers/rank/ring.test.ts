import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Ring } from './ring.ts';

const messageOf = (seed: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => seed * 31 + i);

test('messages come out as they went in, whatever the fill level and the place of the wrap', () => {
  const step = fc.oneof(fc.record({ write: fc.nat(40) }), fc.constant('read' as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const ring = Ring.create(64);
      const expected: Uint8Array[] = [];
      let used = 0;
      for (const [seed, action] of steps.entries()) {
        if (action === 'read') {
          const message = expected.shift();
          expect(ring.read()).toEqual(message);
          if (message) used -= 4 + message.length;
          continue;
        }
        const message = messageOf(seed, action.write);
        const fits = used + 4 + message.length <= 64;
        expect(ring.tryWrite(message)).toBe(fits);
        if (!fits) continue;
        expected.push(message);
        used += 4 + message.length;
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});

test('positions may pass 2^31 and 2^32', () => {
  const ring = Ring.create(1 << 10);
  const words = new Int32Array(ring.buffer, 0, 64);
  for (const start of [2 ** 31 - 1000, -1000]) {
    words[0] = start;
    words[16] = start;
    for (let i = 0; i < 100; i++) {
      expect(ring.tryWrite(messageOf(i, 57))).toBe(true);
      expect(ring.read()).toEqual(messageOf(i, 57));
    }
  }
});

test('a message that can never fit is refused with its limit', () => {
  const ring = Ring.create(64);
  expect(ring.tryWrite(new Uint8Array(60))).toBe(true);
  expect(() => ring.tryWrite(new Uint8Array(61))).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
});

test('a blocked write gives up by its time, and at once when the ring is closed', () => {
  const ring = Ring.create(64);
  ring.tryWrite(new Uint8Array(60));
  expect(ring.write(new Uint8Array(10), 20)).toBe(false);
  ring.close();
  expect(ring.write(new Uint8Array(10), 60_000)).toBe(false);
});

test('closing ends a wait, and what was written before is still read', async () => {
  const ring = Ring.create(64);
  const waiting = ring.readable();
  ring.close();
  await waiting;
  const other = Ring.create(64);
  other.tryWrite(messageOf(1, 3));
  other.close();
  await other.readable();
  expect(other.closed).toBe(true);
  expect(other.read()).toEqual(messageOf(1, 3));
});

/** Echoes every message of one ring into another, blocking; ends when the first is closed and empty. */
const echo = `
  import { workerData } from 'node:worker_threads';
  const { Ring } = await import(workerData.ring);
  const [from, to] = [Ring.attach(workerData.from), Ring.attach(workerData.to)];
  for (;;) {
    const { closed } = from;
    const message = from.read();
    if (message) to.write(message, 10000);
    else if (closed) break;
    else from.waitReadable(1000);
  }
  to.close();
`;

test('a thread that blocks and one that does not exchange ten thousand messages through small rings', async () => {
  const [there, back] = [Ring.create(256), Ring.create(128)];
  const workerData = { ring: new URL('./ring.ts', import.meta.url).href, from: there.buffer, to: back.buffer };
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(echo)}`), { workerData });
  const count = 10_000;
  let sent = 0;
  let received = 0;
  while (received < count) {
    while (sent < count && there.tryWrite(messageOf(sent, sent % 50))) sent++;
    const message = back.read();
    if (!message) await back.readable();
    else expect(Buffer.compare(message, messageOf(received, received++ % 50))).toBe(0);
  }
  there.close();
  await new Promise((resolve) => worker.on('exit', resolve));
  expect(back.closed).toBe(true);
});
