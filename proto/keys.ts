/** Names that processes agree on: where the records lie in the store, and where frames go on the bus. Only the controller writes below groups/, epochs/ and leader. */

export const storeRoot = '/trireme/v1/';
export const leaderKey = `${storeRoot}leader`;
export const modelsPrefix = `${storeRoot}models/`;
export const workersPrefix = `${storeRoot}workers/`;
export const groupsPrefix = `${storeRoot}groups/`;
/** The highest epoch that a group ever had: outlives the group's record, so that a name used again is never stale. */
export const epochsPrefix = `${storeRoot}epochs/`;

export const groupKey = (group: string): string => `${groupsPrefix}${group}`;
export const epochKey = (group: string): string => `${epochsPrefix}${group}`;

export const modelKey = (model: string): string => `${modelsPrefix}${model}`;
export const workerKey = (worker: string): string => `${workersPrefix}${worker}`;

/** Bus subject of a router's frames. */
export const frameSubject = (routerIncarnation: string): string => `trireme.v1.router.${routerIncarnation}`;
