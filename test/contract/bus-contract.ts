/** What every Bus promises. Run over the embedded one and over NATS. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bus, maxPayloadBytes } from '#platform/bus.ts';
import { eventually } from './eventually.ts';

export interface BusFixture {
  readonly bus: Bus;
  /** A second participant on the same bus; the same object where there is only one process. */
  readonly other: Bus;
  /** Opens a bus that a test may close. */
  openAnother(): Promise<Bus>;
  stop(): Promise<void>;
}

const byte = (value: number): Uint8Array => new Uint8Array([value]);

/** Four bytes: enough to count the messages of a test. */
function numbered(value: number): Uint8Array {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint32(0, value);
  return payload;
}

function numberOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

export function busContract(name: string, start: () => Promise<BusFixture>): void {
  describe(`the ${name} bus`, () => {
    let fixture: BusFixture;
    let bus: Bus;
    let other: Bus;
    let tests = 0;
    const newSubject = (): string => `contract.${tests++}`;
    beforeAll(async () => {
      fixture = await start();
      ({ bus, other } = fixture);
    });
    afterAll(() => fixture.stop());

    /** Collects what arrives, in force when it resolves. */
    async function listen(on: Bus, subject: string): Promise<Uint8Array[]> {
      const seen: Uint8Array[] = [];
      on.subscribe(subject, (payload) => seen.push(payload));
      await on.flush();
      return seen;
    }

    test('a message reaches every subscriber of its subject, its own publisher too, and nobody else', async () => {
      const subject = newSubject();
      const seen = await Promise.all([listen(bus, subject), listen(bus, subject), listen(other, subject)]);
      const strangers = [await listen(bus, `${subject}.below`), await listen(other, `${subject}0`)];
      bus.publish(subject, byte(7));
      await eventually(() => expect(seen).toEqual([[byte(7)], [byte(7)], [byte(7)]]));
      bus.publish(`${subject}.below`, byte(8));
      await eventually(() => expect(strangers[0]).toEqual([byte(8)]));
      expect([seen.map((messages) => messages.length), strangers[1]]).toEqual([[1, 1, 1], []]);
    });

    test('publishing never delivers before it returns', async () => {
      const subject = newSubject();
      const seen = await listen(bus, subject);
      bus.publish(subject, byte(1));
      expect(seen).toEqual([]);
      await eventually(() => expect(seen).toEqual([byte(1)]));
    });

    test('5,000 messages of each of two publishers arrive once each and in their order', async () => {
      const subject = newSubject();
      const seen = await listen(bus, subject);
      for (let i = 0; i < 5000; i++) {
        bus.publish(subject, numbered(i));
        other.publish(subject, numbered(100_000 + i));
      }
      await eventually(() => expect(seen).toHaveLength(10_000));
      const numbers = seen.map(numberOf);
      const expected = Array.from({ length: 5000 }, (_, i) => i);
      expect(numbers.filter((number) => number < 100_000)).toEqual(expected);
      expect(numbers.filter((number) => number >= 100_000).map((number) => number - 100_000)).toEqual(expected);
    });

    test('payloads arrive as they were: empty, every byte value, and the largest', async () => {
      const subject = newSubject();
      const seen = await listen(other, subject);
      const payloads = [
        new Uint8Array(),
        Uint8Array.from({ length: 256 }, (_, i) => i),
        new Uint8Array(maxPayloadBytes).fill(13),
      ];
      for (const payload of payloads) bus.publish(subject, payload);
      await eventually(() => expect(seen).toHaveLength(3));
      expect(seen.map((payload, i) => Buffer.compare(payload, payloads[i]!))).toEqual([0, 0, 0]);
      expect(seen.some((payload) => payload instanceof Buffer)).toBe(false);
    });

    test('a message beyond the limit is refused by name, as a request and as a reply too', async () => {
      const subject = newSubject();
      const tooLarge = new Uint8Array(maxPayloadBytes + 1);
      const named = { code: 'MESSAGE_TOO_LARGE' };
      expect(() => bus.publish(subject, tooLarge)).toThrow(expect.objectContaining(named));
      await expect(bus.request(subject, tooLarge, 1000)).rejects.toMatchObject(named);
      const refusals: unknown[] = [];
      bus.subscribe(subject, (_, respond) => {
        try {
          respond(tooLarge);
        } catch (error) {
          refusals.push(error);
          respond(byte(1));
        }
      });
      await bus.flush();
      expect(await other.request(subject, byte(0), 5000)).toEqual(byte(1));
      expect(refusals).toMatchObject([named]);
    });

    test('a closed subscription is silent, at once and for good, while others go on', async () => {
      const subject = newSubject();
      const seen = await listen(bus, subject);
      const closed: number[] = [];
      const subscription = bus.subscribe(subject, (payload) => {
        closed.push(numberOf(payload));
        if (closed.length === 3) subscription.close();
      });
      await bus.flush();
      for (let i = 0; i < 10; i++) other.publish(subject, numbered(i));
      await eventually(() => expect(seen).toHaveLength(10));
      subscription.close();
      other.publish(subject, numbered(10));
      await eventually(() => expect(seen).toHaveLength(11));
      expect(closed).toEqual([0, 1, 2]);
    });

    test('each of 100 requests at once gets its own answer', async () => {
      const subject = newSubject();
      other.subscribe(subject, (payload, respond) => {
        const question = numberOf(payload);
        // The later half is answered first.
        if (question < 50) setImmediate(() => respond(numbered(question * 2)));
        else respond(numbered(question * 2));
      });
      await other.flush();
      const questions = Array.from({ length: 100 }, (_, i) => i);
      const answers = await Promise.all(questions.map((i) => bus.request(subject, numbered(i), 5000)));
      expect(answers.map(numberOf)).toEqual(questions.map((i) => i * 2));
    });

    test('a request that nobody hears fails at once, one that nobody answers at its deadline', async () => {
      const subject = newSubject();
      await expect(bus.request(subject, byte(1), 60_000)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      const seen = await listen(other, subject);
      await expect(bus.request(subject, byte(1), 50)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      await eventually(() => expect(seen).toEqual([byte(1)]));
    });

    test('a second answer, a late one and one that nobody asked for do no harm', async () => {
      const subject = newSubject();
      let respondLate = (_: Uint8Array): void => {};
      bus.subscribe(subject, (payload, respond) => {
        if (payload[0] === 9) respondLate = respond;
        else for (const answer of [1, 2]) respond(byte(answer));
      });
      await bus.flush();
      bus.publish(subject, byte(0));
      expect(await other.request(subject, byte(0), 5000)).toEqual(byte(1));
      await expect(other.request(subject, byte(9), 50)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      respondLate(byte(9));
      expect(await other.request(subject, byte(0), 5000)).toEqual(byte(1));
    });

    test.each(['', 'a b', 'a.', '.a', 'a..b', 'a.*', 'a.>', 'a\r\nb'])('%j is no subject', async (subject) => {
      expect(() => bus.publish(subject, byte(1))).toThrow('is no subject');
      expect(() => bus.subscribe(subject, () => {})).toThrow('is no subject');
      await expect(bus.request(subject, byte(1), 1000)).rejects.toThrow('is no subject');
    });

    test('a closed bus says so, and what waited for an answer is told at once', async () => {
      const closing = await fixture.openAnother();
      const changes: boolean[] = [];
      closing.onConnection((connected) => changes.push(connected));
      const subject = newSubject();
      closing.subscribe(subject, () => {});
      await closing.flush();
      const unanswered = closing.request(subject, byte(1), 60_000);
      const refused = expect(unanswered).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
      expect(closing.connected).toBe(true);
      await closing.close();
      await closing.close();
      await refused;
      expect([closing.connected, changes]).toEqual([false, [false]]);
      closing.publish(subject, byte(1));
      const named = { code: 'BUS_UNAVAILABLE' };
      await expect(closing.request(subject, byte(1), 1000)).rejects.toMatchObject(named);
      await expect(closing.flush()).rejects.toMatchObject(named);
      expect(() => closing.subscribe(subject, () => {})).toThrow(expect.objectContaining(named));
    });
  });
}
