/** A fake Hub, an empty cache, and pulls between them with limits so small that little files have many parts. */
import { createHash } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { systemRandom } from '#platform/random.ts';
import { CacheLayout } from '../../services/hub/cache-layout.ts';
import { HubHttp } from '../../services/hub/hub-http.ts';
import { requireModelReference } from '../../services/hub/model-reference.ts';
import { type PullLimits, type PullOptions, type PullPlan, pullModel } from '../../services/hub/pull.ts';
import type { HubSettings } from '../../services/hub/settings.ts';
import { type TemporaryFolder, temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { type FakeModel, HubServer, type HubServerOptions } from './hub-server.ts';
import { HurriedClock } from './hurried-clock.ts';

export const smallLimits: PullLimits = { connections: 3, openFiles: 2, partBytes: 4096, writeBytes: 512 };

/** Bytes without a pattern, the same for the same name. */
export function bytesOf(name: string, count: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(count / 32) }, (_, i) =>
    createHash('sha256').update(`${name} ${i}`).digest(),
  );
  return Uint8Array.from(Buffer.concat(blocks).subarray(0, count));
}

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** Small and large files, two of the same content, an empty one, and what is left out by default. */
export const tinyModel: FakeModel = {
  repo: 'acme/tiny',
  files: {
    '.gitattributes': text('*.safetensors filter=lfs'),
    'README.md': text('---\nlicense: apache-2.0\n---\n# Tiny\n'),
    'config.json': text('{"model_type":"tiny"}'),
    'empty.json': new Uint8Array(),
    'model-1.safetensors': bytesOf('one', 20_000),
    'model-2.safetensors': bytesOf('two', 12_345),
    'same.safetensors': bytesOf('two', 12_345),
    'tokenizer.json': bytesOf('tokenizer', 900),
    'onnx/model.onnx': bytesOf('onnx', 3000),
    'pytorch_model.bin': bytesOf('pickle', 2000),
  },
  cardData: { license: 'apache-2.0' },
};

/** Of tinyModel, without --include. */
export const defaultFiles: readonly string[] = [
  'README.md',
  'config.json',
  'empty.json',
  'model-1.safetensors',
  'model-2.safetensors',
  'same.safetensors',
  'tokenizer.json',
];

export class HubRig implements AsyncDisposable {
  readonly server: HubServer;
  readonly clock = new HurriedClock();
  readonly cacheFolder: string;
  token: string | undefined;
  readonly #folder: TemporaryFolder;

  private constructor(server: HubServer, folder: TemporaryFolder) {
    this.server = server;
    this.#folder = folder;
    this.cacheFolder = path.join(folder.path, 'hub');
  }

  static async start(models: readonly FakeModel[] = [tinyModel], options: HubServerOptions = {}): Promise<HubRig> {
    return new HubRig(await HubServer.start(models, options), await temporaryFolder());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }

  get layout(): CacheLayout {
    return new CacheLayout(this.cacheFolder, tinyModel.repo);
  }

  get http(): HubHttp {
    const settings: HubSettings = {
      endpoint: this.server.endpoint,
      token: this.token,
      cacheFolder: this.cacheFolder,
      isOffline: false,
    };
    return new HubHttp({ settings, clock: this.clock, random: systemRandom });
  }

  async pull(model = tinyModel.repo, options: Partial<PullOptions> = {}): Promise<PullPlan> {
    return pullModel(requireModelReference(model), {
      http: this.http,
      clock: this.clock,
      signal: new AbortController().signal,
      limits: smallLimits,
      ...options,
    });
  }

  /** What lies in the cache but for locks: files by their SHA-256, links by where they lead. */
  contents(): Promise<Record<string, string>> {
    return contentsOf(this.cacheFolder);
  }
}

export async function contentsOf(cacheFolder: string): Promise<Record<string, string>> {
  const entries = await readdir(cacheFolder, { recursive: true, withFileTypes: true }).catch(() => []);
  const found: Record<string, string> = {};
  for (const entry of entries) {
    const place = path.join(entry.parentPath, entry.name);
    const name = path.relative(cacheFolder, place);
    if (name.startsWith('.locks') || entry.isDirectory()) continue;
    found[name] = entry.isSymbolicLink()
      ? `-> ${await readlink(place)}`
      : createHash('sha256')
          .update(await readFile(place))
          .digest('hex');
  }
  return found;
}
