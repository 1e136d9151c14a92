/** The Hub as the commands use it: settings from the environment, what is loaded told before, a bar meanwhile. */
import { homedir } from 'node:os';
import { systemClock } from '#platform/clock.ts';
import { systemRandom } from '#platform/random.ts';
import { findModel } from '../hub/find-model.ts';
import { HubHttp } from '../hub/hub-http.ts';
import type { ModelReference } from '../hub/model-reference.ts';
import { type PullPlan, pullModel } from '../hub/pull.ts';
import { readHubSettings } from '../hub/settings.ts';
import type { Terminal } from './terminal.ts';

/** Errors: INVALID_CONFIG, IO_ERROR. */
export async function openHub(): Promise<HubHttp> {
  const settings = await readHubSettings(process.env, homedir());
  return new HubHttp({ settings, clock: systemClock, random: systemRandom });
}

/** The folder of a --model: see findModel. Errors: its and those of pullModel. */
export async function modelFolder(text: string, terminal: Terminal, signal: AbortSignal): Promise<string> {
  return findModel(text, async () => {
    const hub = await openHub();
    const { cacheFolder, isOffline } = hub.settings;
    const pull = async (reference: ModelReference): Promise<string> => {
      terminal.note(`no folder ${text} here, so it is taken for a model of the Hub`);
      return (await pullWithBar(reference, { signal }, hub, terminal)).folder;
    };
    return { cacheFolder, pull: isOffline ? undefined : pull };
  });
}

/** Errors: those of pullModel. */
export async function pullWithBar(
  reference: ModelReference,
  options: { readonly include?: readonly string[]; readonly signal: AbortSignal },
  http: HubHttp,
  terminal: Terminal,
): Promise<PullPlan> {
  const bar = terminal.progress();
  try {
    return await pullModel(reference, {
      ...options,
      http,
      clock: systemClock,
      onPlan: (plan) => describePlan(plan, terminal),
      onProgress: (doneBytes, totalBytes) => bar.update('pulling', doneBytes, totalBytes),
      onWait: (file) => terminal.note(`another process is loading ${file}; waiting for it`),
    });
  } finally {
    bar.end();
  }
}

const gates: Readonly<Record<PullPlan['gated'], string>> = {
  no: 'open to everybody',
  auto: 'gated: loadable after accepting its terms on its page',
  manual: 'gated: its owner decides who may load it',
};

function describePlan(plan: PullPlan, terminal: Terminal): void {
  const { repo, revision, commit, licence, gated, isPrivate, files, missingBytes } = plan;
  const cached = files.filter(({ isCached }) => isCached).length;
  terminal.note(`${repo}, ${revision === commit ? '' : `${revision} is `}commit ${commit}`);
  terminal.note(`licence ${licence ?? 'not stated'}; ${isPrivate ? 'private; ' : ''}${gates[gated]}`);
  terminal.note(
    `files ${files.length}, of them in the cache ${cached}; to load ${(missingBytes / 2 ** 20).toFixed(1)} MiB`,
  );
  if (!files.some(({ path }) => /\.(safetensors|gguf)$/.test(path))) {
    terminal.note('no weights among them: --include names files that are left out by default');
  }
}
