import type { Command } from 'commander';
import { readCachedModel } from '../../hub/cached-model.ts';
import { requireModelReference } from '../../hub/model-reference.ts';
import type { PullPlan } from '../../hub/pull.ts';
import { collect } from '../arguments.ts';
import { openHub, pullWithBar } from '../hub.ts';
import { abortOnSignals } from '../interrupt.ts';
import type { Terminal } from '../terminal.ts';

interface PullFlags {
  readonly include?: readonly string[];
  readonly offline?: boolean;
  readonly json?: boolean;
}

export function addPull(program: Command, terminal: Terminal): void {
  program
    .command('pull <model>')
    .description('load ORG/NAME[@revision] from the Hugging Face Hub into the cache that other tools share')
    .option('--include <glob>', 'only files that match; may be given several times', collect)
    .option('--offline', 'ask nobody: say what the cache has')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Without --include: safetensors, configuration, tokenizer, templates and the terms of use.
What was loaded stays when a pull is interrupted, and the next one goes on from there.
HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean to other tools.`,
    )
    .action((model: string, flags: PullFlags) => runPull(model, flags, terminal));
}

async function runPull(model: string, { include = [], offline, json }: PullFlags, terminal: Terminal): Promise<void> {
  const reference = requireModelReference(model);
  const hub = await openHub();
  if (offline || hub.settings.isOffline) {
    const cached = await readCachedModel(reference, hub.settings.cacheFolder, include);
    return json ? terminal.json(cached) : terminal.line(cached.folder);
  }
  const plan = await pullWithBar(reference, { include, signal: abortOnSignals() }, hub, terminal);
  if (json) terminal.json(resultOf(plan));
  else terminal.line(plan.folder);
}

function resultOf({ missingBytes, ...plan }: PullPlan): object {
  return { ...plan, licence: plan.licence ?? null, loadedBytes: missingBytes };
}
