/**
 * Where the Hub is, who asks, and where its files are kept: the environment variables that every tool around the Hub
 * understands. https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { asIoError, isMissing } from '#platform/io-error.ts';

export interface HubSettings {
  /** Without a slash at its end; may have a path. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly cacheFolder: string;
  /** Nothing may be asked over the network. */
  readonly isOffline: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

const publicHub = 'https://huggingface.co';

/** `home` is the user's folder. Errors: INVALID_CONFIG; IO_ERROR when a token file is there and cannot be read. */
export async function readHubSettings(env: Environment, home: string): Promise<HubSettings> {
  const place = (name: string): string | undefined => (env[name] ? expanded(env[name], env, home) : undefined);
  const cacheHome = place('XDG_CACHE_HOME') ?? path.join(home, '.cache');
  const hubHome = place('HF_HOME') ?? path.join(cacheHome, 'huggingface');
  const tokenFile = place('HF_TOKEN_PATH') ?? path.join(hubHome, 'token');
  return {
    endpoint: endpointOf(env.HF_ENDPOINT || publicHub),
    token: isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? undefined : await findToken(env, tokenFile),
    cacheFolder: path.resolve(place('HF_HUB_CACHE') ?? place('HUGGINGFACE_HUB_CACHE') ?? path.join(hubHome, 'hub')),
    isOffline: isOn(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
  };
}

function isOn(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());
}

/** `~` and variables, as a shell would: such a value may come out of a file that no shell has read. */
function expanded(value: string, env: Environment, home: string): string {
  const withVariables = value.replace(
    /\$(?:(\w+)|\{(\w+)\})/g,
    (text, bare, braced) => env[(bare ?? braced) as string] ?? text,
  );
  return withVariables.replace(/^~(?=$|\/)/, home);
}

function endpointOf(text: string): string {
  const url = URL.parse(text);
  const isPlain = url !== null && url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || !['http:', 'https:'].includes(url.protocol)) {
    throw new TriremeError('INVALID_CONFIG', 'variable HF_ENDPOINT is not the URL of a Hub', {
      remedy: `Set it to something like ${publicHub}, without user, query or fragment`,
    });
  }
  return url.href.replace(/\/+$/, '');
}

async function findToken(env: Environment, file: string): Promise<string | undefined> {
  const inVariable = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  const text = inVariable ?? (await readTokenFile(file));
  const token = text?.trim();
  if (!token) return undefined;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new TriremeError(
    'INVALID_CONFIG',
    `the token in ${inVariable ? 'HF_TOKEN' : file} cannot be sent in a header`,
    {
      remedy: 'A token is one word of printable ASCII; copy it again',
    },
  );
}

async function readTokenFile(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw asIoError(cause, `read the token in ${file}`);
  }
}
