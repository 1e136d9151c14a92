import { expect, test } from 'vitest';
import { Metrics, startMetricsServer } from './metrics.ts';

test('a scrape shows counters, gauges and histograms under the prefix, with their labels', async () => {
  const metrics = new Metrics('trireme_test');
  const requests = metrics.counter('requests_total', { help: 'requests', labels: ['outcome'] });
  requests.add(2, { outcome: 'ok' });
  requests.add(1, { outcome: 'failed' });
  metrics.gauge('queue_depth', { help: 'depth' }).set(5);
  let active = 1;
  metrics.gauge('active', { help: 'active' }, () => active);
  active = 7;
  metrics.histogram('step_seconds', { help: 'steps', buckets: [0.1, 1] }).observe(0.5);
  const server = await startMetricsServer(metrics, '127.0.0.1:0', () => true);
  const answer = await fetch(`http://${server.address}/metrics`);
  const lines = (await answer.text()).split('\n');
  expect(answer.headers.get('content-type')).toContain('text/plain');
  expect(lines).toEqual(
    expect.arrayContaining([
      'trireme_test_requests_total{outcome="ok"} 2',
      'trireme_test_requests_total{outcome="failed"} 1',
      'trireme_test_queue_depth 5',
      'trireme_test_active 7',
      'trireme_test_step_seconds_bucket{le="0.1"} 0',
      'trireme_test_step_seconds_bucket{le="1"} 1',
    ]),
  );
  await server.stop();
});

test('health is asked anew each time, other paths are named, and a busy port is an error with a remedy', async () => {
  let healthy = true;
  const server = await startMetricsServer(new Metrics('a'), '127.0.0.1:0', () => healthy);
  const status = async (path: string): Promise<number> => (await fetch(`http://${server.address}${path}`)).status;
  expect(await status('/healthz')).toBe(200);
  healthy = false;
  expect([await status('/healthz'), await status('/')]).toEqual([503, 404]);
  const second = startMetricsServer(new Metrics('b'), server.address, () => true);
  await expect(second).rejects.toMatchObject({ code: 'PORT_IN_USE', message: expect.stringContaining(server.address) });
  await server.stop();
});
