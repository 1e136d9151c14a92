/** A lease in etcd, kept alive by one small request every third of its time to live. */
import { castGrpcError, type LeaseClient } from 'etcd3';
import { TriremeError } from './errors.ts';
import type { Lease } from './store.ts';
import type { EtcdClient } from './store-etcd-client.ts';

/** Pause after a keepalive that got no answer. */
const retryMs = 250;

export class EtcdLease implements Lease {
  readonly id: string;
  readonly ttlMs: number;
  #over = false;
  #isRenewing = false;
  #cancelTimer = (): void => {};
  readonly #client: EtcdClient;
  readonly #lost = new AbortController();
  readonly #onEnd: (lease: EtcdLease) => void;

  private constructor(client: EtcdClient, id: string, ttlMs: number, onEnd: (lease: EtcdLease) => void) {
    this.id = id;
    this.ttlMs = ttlMs;
    this.#client = client;
    this.#onEnd = onEnd;
  }

  /** onEnd is called once, when the lease has been lost or released. Errors: STORE_UNAVAILABLE. */
  static async grant(client: EtcdClient, ttlMs: number, onEnd: (lease: EtcdLease) => void): Promise<EtcdLease> {
    const ttlSeconds = Math.ceil(ttlMs / 1000);
    const { ID: id } = await client.call((member, options) =>
      member.leaseClient.leaseGrant({ TTL: ttlSeconds }, options),
    );
    const lease = new EtcdLease(client, id, ttlSeconds * 1000, onEnd);
    lease.#keepAliveIn(lease.ttlMs / 3);
    return lease;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async release(): Promise<void> {
    this.#end();
    try {
      await this.#client.call((member, options) => member.leaseClient.leaseRevoke({ ID: this.id }, options));
    } catch (error) {
      if (TriremeError.from(error).code !== 'LEASE_LOST') throw error;
    }
  }

  /** Asks now instead of at the next third of the time to live. */
  renewNow(): void {
    if (this.#over || this.#isRenewing) return;
    this.#cancelTimer();
    void this.#keepAlive();
  }

  #lose(): void {
    this.#end();
    this.#lost.abort(new TriremeError('LEASE_LOST', `lease ${this.id} expired or was revoked`));
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    this.#onEnd(this);
  }

  #keepAliveIn(delayMs: number): void {
    this.#cancelTimer = this.#client.clock.after(delayMs, () => void this.#keepAlive());
  }

  async #keepAlive(): Promise<void> {
    let isHeld = true;
    let pauseMs = this.ttlMs / 3;
    this.#isRenewing = true;
    try {
      isHeld = await this.#client.call((member, options) => renewOnce(member.leaseClient, this.id, options));
    } catch {
      // The client has noted that etcd is away. The lease may outlive that: etcd gives it its full time on its return.
      pauseMs = Math.min(pauseMs, retryMs);
    }
    this.#isRenewing = false;
    if (this.#over) return;
    if (this.#client.closed) this.#end();
    else if (isHeld) this.#keepAliveIn(pauseMs);
    else this.#lose();
  }
}

/** One request on a stream of its own: a long-lived stream would have to be watched for its death. False: no such lease. */
async function renewOnce(client: LeaseClient, id: string, options: { readonly deadline: number }): Promise<boolean> {
  const stream = await client.leaseKeepAlive(options);
  try {
    return await new Promise<boolean>((resolve, reject) => {
      stream.on('error', (error) => reject(castGrpcError(error)));
      stream.on('end', () => reject(new Error('the keepalive stream ended without an answer')));
      stream.on('data', ({ TTL: ttlSeconds }) => resolve(Number(ttlSeconds) > 0));
      stream.write({ ID: id });
    });
  } finally {
    stream.end(); // cancel() would look like a failure to etcd3, which then drops every connection
  }
}
