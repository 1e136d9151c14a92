/** What the router says of the fleet and of itself. */
import type { Bus } from '#platform/bus.ts';
import type { Store } from '#platform/store.ts';
import type { Model } from '#proto/inference.ts';
import type { StatusResponse } from '#proto/operations.ts';
import type { Fleet } from './fleet.ts';
import type { Router } from './router.ts';

export interface Overview {
  readonly fleet: Fleet;
  readonly router: Router;
  readonly incarnation: string;
  readonly store: Store;
  readonly bus: Bus;
  readonly door: { readonly isClosed: boolean };
}

export function listModels(fleet: Fleet): Model[] {
  return fleet.models.map(({ name, family, contextLength }) => ({
    name,
    family,
    contextLength,
    readyGroups: fleet.readyGroupCount(name),
  }));
}

export function statusOf({ fleet, router, incarnation, store, bus, door }: Overview): StatusResponse {
  const groups = fleet.groups.map((record) => {
    const engine = router.engineOf(record.group);
    return { record, session: engine !== undefined, engine };
  });
  return {
    models: fleet.models,
    workers: fleet.workers,
    groups,
    router: {
      incarnation,
      activeRequests: router.activeCount,
      queuedRequests: router.queuedCount,
      storeConnected: store.connected,
      busConnected: bus.connected,
      draining: door.isClosed,
    },
  };
}
