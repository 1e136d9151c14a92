/** What serving a model takes beside its groups: tokenizer, sampling defaults, format of replies; read once from its package. */
import path from 'node:path';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { ModelRecord } from '#proto/records.ts';
import type { ReplyFormat } from '#replies/reply-format.ts';
import { chooseReplyFormat } from '#replies/reply-formats.ts';
import { readPackageJson } from '#tokenizer/package-files.ts';
import { loadTokenizer, type Tokenizer } from '#tokenizer/tokenizer.ts';
import type { Fleet } from './fleet.ts';
import { readSamplingDefaults, type SamplingDefaults } from './sampling.ts';

/** After a package could not be read, requests get the same error for so long before it is tried again. */
const retryMs = 5000;

export interface ModelFiles {
  readonly tokenizer: Tokenizer;
  readonly defaults: SamplingDefaults;
  /** How its replies mark reasoning and calls; undefined: not, as far as its files tell. */
  readonly replyFormat: ReplyFormat | undefined;
}

/** Errors: those of loadTokenizer, INVALID_CHECKPOINT for a malformed generation_config.json. */
export type ReadModel = (folder: string) => Promise<ModelFiles>;

export interface ModelCatalogOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: from the package. */
  readonly read?: ReadModel;
}

interface Loading {
  readonly files: Promise<ModelFiles>;
  failedMs: number | undefined;
}

export class ModelCatalog {
  /** By package: a model may move to another one, and two models may share one. */
  readonly #loadings = new Map<string, Loading>();
  readonly #options: ModelCatalogOptions;

  constructor(options: ModelCatalogOptions) {
    this.#options = options;
  }

  /** name empty: the only model there is. Errors: UNKNOWN_MODEL, INVALID_ARGUMENT without a name where there are several. */
  resolve(name: string): ModelRecord {
    const { fleet } = this.#options;
    const names = fleet.models.map((model) => model.name).sort();
    const [only] = names;
    if (name === '' && names.length > 1) {
      throw new TriremeError('INVALID_ARGUMENT', 'the request names no model, and several are served', {
        remedy: `name one of: ${names.join(', ')}`,
      });
    }
    const record = fleet.model(name === '' ? (only ?? '') : name);
    if (record) return record;
    const what = name === '' ? 'no model is served' : `model ${JSON.stringify(name)} is not served`;
    throw new TriremeError('UNKNOWN_MODEL', what, {
      remedy: names.length > 0 ? `served are: ${names.join(', ')}` : 'add one first',
    });
  }

  /** Errors: those of loadTokenizer, INVALID_CHECKPOINT for a malformed generation_config.json. */
  load(record: ModelRecord): Promise<ModelFiles> {
    const key = keyOf(record);
    const known = this.#loadings.get(key);
    const { clock, log, read = readPackage } = this.#options;
    if (known && (known.failedMs === undefined || clock.now() - known.failedMs < retryMs)) return known.files;
    const loading: Loading = { files: read(record.packagePath), failedMs: undefined };
    this.#loadings.set(key, loading);
    loading.files.catch((error) => {
      loading.failedMs = clock.now();
      const { code, message } = TriremeError.from(error);
      log.error({ model: record.name, code, reason: message }, 'the tokenizer of a model cannot be read');
    });
    return loading.files;
  }

  /** The fleet has changed: reads ahead what is new, forgets what nobody serves. */
  refresh(): void {
    const { models } = this.#options.fleet;
    const wanted = new Set(models.map(keyOf));
    for (const key of this.#loadings.keys()) if (!wanted.has(key)) this.#loadings.delete(key);
    for (const record of models) if (!this.#loadings.has(keyOf(record))) void this.load(record);
  }
}

async function readPackage(folder: string): Promise<ModelFiles> {
  const name = 'generation_config.json';
  const [tokenizer, config = {}] = await Promise.all([loadTokenizer(folder), readPackageJson(folder, name)]);
  const { templates, tokens } = tokenizer.markup;
  return {
    tokenizer,
    defaults: readSamplingDefaults(config, path.join(folder, name)),
    replyFormat: chooseReplyFormat(templates, tokens),
  };
}

function keyOf({ packagePath, packageDigest }: ModelRecord): string {
  return `${packageDigest} ${packagePath}`;
}
