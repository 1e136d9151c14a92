/**
 * The worker process' I/O side, composed: registration and placement in the store, WorkerControl and Worker.Session over
 * gRPC, frames to the bus, teams of ranks behind TeamHost.
 */
import type { Bus } from '#platform/bus.ts';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import { startRpcServer } from '#platform/rpc.ts';
import type { Store } from '#platform/store.ts';
import { frameSubject } from '#proto/keys.ts';
import { WorkerRecord } from '#proto/records.ts';
import type { WorkerConfig } from './config.ts';
import { controlService } from './control-server.ts';
import { HeldGroups } from './held-groups.ts';
import { defaultLimits } from './limits.ts';
import { watchPlacement } from './placement-watch.ts';
import { Registration } from './registration.ts';
import { sessionService } from './session-server.ts';
import type { OpenTeams, StuckHandler } from './team-port.ts';
