/** Metrics in Prometheus' form, and the HTTP endpoint that shows them. The only importer of prom-client. */
import { createServer, type Server } from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { listenError, parseListenAddress } from './listen.ts';

export interface MetricOptions<Label extends string> {
  readonly help: string;
  /** Names of labels; every combination of their values is a series of its own, so values come from small closed sets. */
  readonly labels?: readonly Label[];
}

/** One argument with a value for every label; no argument for a metric without labels. */
export type Labels<Label extends string> = [Label] extends [never] ? [] : [Readonly<Record<Label, string>>];

export interface CounterMetric<Label extends string> {
  add(count: number, ...labels: Labels<Label>): void;
}

export interface GaugeMetric<Label extends string> {
  set(value: number, ...labels: Labels<Label>): void;
}

export interface HistogramMetric<Label extends string> {
  observe(value: number, ...labels: Labels<Label>): void;
}

export class Metrics {
  readonly #prefix: string;
  readonly #registry = new Registry();

  /** Every name begins with `<prefix>_`. Metrics of the Node process itself are included. */
  constructor(prefix: string) {
    this.#prefix = prefix;
    collectDefaultMetrics({ register: this.#registry, prefix: `${prefix}_` });
  }

  /** Only rises; its name ends in _total. */
  counter<Label extends string = never>(name: string, options: MetricOptions<Label>): CounterMetric<Label> {
    const counter = new Counter(this.#settings(name, options));
    return { add: (count, ...labels) => counter.inc(labels[0] ?? {}, count) };
  }

  /** Read when somebody asks, if `read` is given; else as last set. */
  gauge<Label extends string = never>(
    name: string,
    options: MetricOptions<Label>,
    read?: () => number,
  ): GaugeMetric<Label> {
    const settings = this.#settings(name, options);
    const gauge: Gauge<Label> = new Gauge(read ? { ...settings, collect: () => gauge.set(read()) } : settings);
    return { set: (value, ...labels) => gauge.set(labels[0] ?? {}, value) };
  }

  /** buckets: upper bounds in the unit that the name ends in (_seconds, _bytes). */
  histogram<Label extends string = never>(
    name: string,
    options: MetricOptions<Label> & { readonly buckets: readonly number[] },
  ): HistogramMetric<Label> {
    const histogram = new Histogram({ ...this.#settings(name, options), buckets: [...options.buckets] });
    return { observe: (value, ...labels) => histogram.observe(labels[0] ?? {}, value) };
  }

  /** What a scrape gets. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #settings<Label extends string>(name: string, { help, labels = [] }: MetricOptions<Label>) {
    return { name: `${this.#prefix}_${name}`, help, labelNames: [...labels], registers: [this.#registry] };
  }
}

export interface MetricsServer {
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Serves GET /metrics, and GET /healthz: 200 while isHealthy, else 503. Errors: PORT_IN_USE, INVALID_CONFIG for an address
 * that cannot be bound.
 */
export async function startMetricsServer(
  metrics: Metrics,
  listen: string,
  isHealthy: () => boolean,
): Promise<MetricsServer> {
  const { host, port } = parseListenAddress(listen);
  const server = createServer(async (request, response) => {
    if (request.url === '/metrics')
      response.setHeader('content-type', 'text/plain; version=0.0.4').end(await metrics.text());
    else if (request.url === '/healthz')
      response.writeHead(isHealthy() ? 200 : 503).end(isHealthy() ? 'ok\n' : 'not ready\n');
    else response.writeHead(404).end('try /metrics or /healthz\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(listen, cause)));
    server.listen(port, host.replace(/^\[|\]$/g, ''), resolve);
  });
  return { address: `${host}:${portOf(server)}`, stop: () => close(server) };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
