/** Store and bus of a system: real ones by their URLs, else embedded ones that end with this process. */
import type { Bus } from '#platform/bus.ts';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { connectNatsBus } from '#platform/bus-nats.ts';
import { systemClock } from '#platform/clock.ts';
import type { Lifecycle } from '#platform/lifecycle.ts';
import type { Logger } from '#platform/log.ts';
import type { Store } from '#platform/store.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';

/** Errors: STORE_UNAVAILABLE, BUS_UNAVAILABLE after the time that connecting may take. */
export async function openBackbone(
  { etcd, nats, wait }: { etcd?: string; nats?: string; wait: number },
  log: Logger,
  lifecycle: Lifecycle,
): Promise<{ store: Store; bus: Bus }> {
  const shared = { log, clock: systemClock, startLimitMs: wait * 1000 };
  const store = etcd ? await connectEtcdStore({ ...shared, urls: [etcd] }) : new EmbeddedStore();
  lifecycle.add({ name: 'store', stop: () => store.close() });
  const bus = nats ? await connectNatsBus({ ...shared, urls: [nats] }) : new EmbeddedBus();
  lifecycle.add({ name: 'bus', stop: () => bus.close() });
  return { store, bus };
}
