/** Waiting for what happens elsewhere: until it holds, not for a time that should do. */
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 5;

/** Resolves when `check` no longer throws; after limitMs throws what it threw last. */
export async function eventually(check: () => void | Promise<void>, limitMs = 10_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
    await sleep(pollMs);
  }
}
