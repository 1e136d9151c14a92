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
  { etcd, nats }: { etcd?: string; nats?: string },
  log: Logger,
  lifecycle: Lifecycle,
): Promise<{ store: Store; bus: Bus }> {
  const store = etcd ? await connectEtcdStore({ urls: [etcd], log, clock: systemClock }) : new EmbeddedStore();
  lifecycle.add({ name: 'store', stop: () => store.close() });
  const bus = nats ? await connectNatsBus({ urls: [nats], log, clock: systemClock }) : new EmbeddedBus();
  lifecycle.add({ name: 'bus', stop: () => bus.close() });
  return { store, bus };
}
