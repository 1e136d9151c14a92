/** The router's figures for a scrape. Read once a tick, so that they cost nothing per token. */
import type { Metrics } from '#platform/metrics.ts';
import type { RouterStats } from './events.ts';
import type { Router } from './router.ts';

type Total = Exclude<keyof RouterStats, 'failures'>;

const totals: Readonly<Record<Total, { readonly name: string; readonly help: string }>> = {
  requests: { name: 'router_requests_total', help: 'requests accepted' },
  tokens: { name: 'router_tokens_total', help: 'tokens handed to clients' },
  moves: { name: 'router_moved_total', help: 'times that a request went on at another group' },
  resumed: { name: 'router_resumed_total', help: 'requests that went on from another router' },
  attaches: { name: 'router_attached_total', help: 'times that frames of a leader had to come over gRPC' },
  frames: { name: 'router_frames_total', help: 'frames that came over the bus' },
  staleFrames: { name: 'router_stale_frames_total', help: 'frames dropped: repeated, or of an older epoch or session' },
  lostFrames: { name: 'router_lost_frames_total', help: 'frames that never came' },
};

/** Registers the router's metrics. The result brings the totals up to date; call it every tick. */
export function exposeRouter(metrics: Metrics, router: Router): () => void {
  metrics.gauge('router_active_requests', { help: 'requests that run at groups' }, () => router.activeCount);
  metrics.gauge('router_queued_requests', { help: 'requests that wait for a group' }, () => router.queuedCount);
  metrics.gauge('router_sessions', { help: 'sessions with leaders' }, () => router.sessionCount);
  const counters = Object.entries(totals).map(([key, { name, help }]) => ({
    key: key as Total,
    counter: metrics.counter(name, { help }),
    told: 0,
  }));
  const failures = metrics.counter('router_failures_total', {
    help: 'requests that ended with an error',
    labels: ['code'],
  });
  const told = new Map<string, number>();
  return () => {
    for (const each of counters) {
      each.counter.add(router.stats[each.key] - each.told);
      each.told = router.stats[each.key];
    }
    for (const [code, count] of router.stats.failures) {
      failures.add(count - (told.get(code) ?? 0), { code });
      told.set(code, count);
    }
  };
}
