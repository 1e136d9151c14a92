/** What a group reads from disks, its own and those of its other workers: its package and its adapters. */
import type { Team } from '../rank/team-port.ts';
import { type AdapterOrder, adapterDigest, fillElsewhere, fillPlace } from './adapter-loader.ts';
import { checkPackageDigest } from './package-digest.ts';
import type { TeamFormation } from './team-port.ts';

export interface GroupFiles {
  /** Errors: NOT_A_PACKAGE, DIGEST_MISMATCH. */
  checkPackage(folder: string, expectedDigest: string): Promise<void>;
  /** SHA-256 over an adapter's files, hex. Errors: UNKNOWN_ADAPTER. */
  adapterDigest(formation: TeamFormation, name: string): Promise<string>;
  /** Brings an adapter into a place of the ranks here. Errors: those of adapter-loader.ts. */
  fillPlace(formation: TeamFormation, team: Pick<Team, 'adapters'>, order: AdapterOrder): Promise<void>;
  /** The same on the group's other workers. Errors: theirs; UNAVAILABLE. */
  fillElsewhere(formation: TeamFormation, order: AdapterOrder): Promise<void>;
}

export const groupFiles: GroupFiles = { checkPackage: checkPackageDigest, adapterDigest, fillPlace, fillElsewhere };
