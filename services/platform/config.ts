/**
 * Configuration: a table of fields becomes one frozen record. A field `etcdUrl` is the flag --etcd-url, the variable
 * TRIREME_ETCD_URL or the key etcdUrl of the YAML file named by --config or TRIREME_CONFIG; flags win over variables,
 * variables over the file, the file over defaults. Whatever nobody knows stops start-up.
 *
 *   const fields = { listen: listenAddress({ default: '127.0.0.1:9010', help: 'where clients connect' }), ... };
 *   export type RouterConfig = ConfigOf<typeof fields>;
 *   const config = loadConfig(fields, { argv: process.argv.slice(2), env: process.env });
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseDocument } from 'yaml';
import type { Field } from './config-fields.ts';
import { TriremeError } from './errors.ts';
import { decodeUtf8 } from './strict-json.ts';

export type { Field } from './config-fields.ts';
export {
  byteSize,
  decimal,
  durationMs,
  integer,
  listenAddress,
  oneOf,
  optional,
  text,
  textList,
  toggle,
  urls,
} from './config-fields.ts';

export type FieldTable = Readonly<Record<string, Field<unknown>>>;
export type ConfigOf<Fields extends FieldTable> = {
  readonly [Key in keyof Fields]: Fields[Key] extends Field<infer T> ? T : never;
};

export interface ConfigSources {
  /** Flags, without the names of node and script. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A value as found, and where, in the words of an error message. */
interface Found {
  readonly raw: unknown;
  readonly origin: string;
}
type Layer = ReadonlyMap<string, Found>;

const envPrefix = 'TRIREME_';
/** Kubernetes hands every pod such variables for a service called trireme-...; nobody set them. */
const kubernetesLinks = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const kubernetesUrl = /^(tcp|udp|sctp):\/\//;

/** Errors: INVALID_CONFIG; it names the key, where it came from, and what is allowed. */
export function loadConfig<Fields extends FieldTable>(fields: Fields, sources: ConfigSources): ConfigOf<Fields> {
  const flags = readFlags(fields, sources.argv);
  const variables = readVariables(fields, sources.env);
  const path = flags.get('config') ?? variables.get('config');
  const file: Layer = path ? readFile(fields, path) : new Map();
  const entries = Object.entries(fields).map(([key, field]) => {
    const found = flags.get(key) ?? variables.get(key) ?? file.get(key);
    return [key, found ? parseValue(field, found) : defaultOf(key, field)] as const;
  });
  return Object.freeze(Object.fromEntries(entries)) as ConfigOf<Fields>;
}

/** One line per flag: name, help, what is allowed, default. */
export function describeConfig(fields: FieldTable): string {
  const lines = Object.entries(fields).map(([key, field]) => {
    const preset = field.default?.value === undefined ? '' : `; default ${String(field.default.value)}`;
    return `  --${flagOf(key)}  ${field.help} (${field.expected}${preset})`;
  });
  return [...lines, '  --config  a YAML file with these settings'].join('\n');
}

function readFlags(fields: FieldTable, argv: readonly string[]): Layer {
  const keys = new Map([...Object.keys(fields), 'config'].map((key) => [flagOf(key), key]));
  const options = Object.fromEntries(
    [...keys].map(([flag, key]) => [flag, { type: fields[key]?.isSwitch ? 'boolean' : 'string' } as const]),
  );
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowNegative: true, tokens: true });
  const found = new Map<string, Found>();
  for (const token of tokens) {
    if (token.kind !== 'option') throw unknownName(`argument ${JSON.stringify(argv[token.index])}`, [...keys.keys()]);
    const key = keys.get(token.name);
    if (key === undefined)
      throw unknownName(
        `flag ${token.rawName}`,
        [...keys.keys()].map((name) => `--${name}`),
      );
    if (found.has(key)) throw new TriremeError('INVALID_CONFIG', `flag ${token.rawName} is given twice`);
    const standsAlone = fields[key]?.isSwitch ? !token.rawName.startsWith('--no-') : '';
    // A flag after a flag that wants a value is not that value.
    const swallowed = token.inlineValue === false && token.value.startsWith('--');
    found.set(key, { raw: swallowed ? '' : (token.value ?? standsAlone), origin: `flag ${token.rawName}` });
  }
  return found;
}

function readVariables(fields: FieldTable, env: ConfigSources['env']): Layer {
  const keys = new Map([...Object.keys(fields), 'config'].map((key) => [variableOf(key), key]));
  const found = new Map<string, Found>();
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith(envPrefix) || raw === undefined) continue;
    const key = keys.get(name);
    if (key !== undefined) found.set(key, { raw, origin: `variable ${name}` });
    else if (!kubernetesLinks.test(name) && !kubernetesUrl.test(raw)) {
      throw unknownName(`variable ${name}`, [...keys.keys()]);
    }
  }
  return found;
}

function readFile(fields: FieldTable, { raw, origin }: Found): Layer {
  const path = String(raw);
  const values = parseYaml(path, origin);
  const found = new Map<string, Found>();
  for (const [key, value] of Object.entries(values)) {
    if (!Object.hasOwn(fields, key)) throw unknownName(`key ${key} in ${path}`, Object.keys(fields));
    found.set(key, { raw: value, origin: `key ${key} in ${path}` });
  }
  return found;
}

function parseYaml(path: string, origin: string): Record<string, unknown> {
  let content: string;
  try {
    content = decodeUtf8(readFileSync(path));
  } catch (cause) {
    throw new TriremeError(
      'INVALID_CONFIG',
      `cannot read the configuration file ${JSON.stringify(path)}: ${(cause as Error).message}`,
      {
        cause,
        remedy: `${origin} must name a YAML file`,
      },
    );
  }
  const document = parseDocument(content, { prettyErrors: true });
  const [error] = document.errors;
  if (error) throw new TriremeError('INVALID_CONFIG', `${path} is not YAML: ${error.message.split('\n')[0]}`);
  const values: unknown = document.toJS();
  if (values === null || values === undefined) return {};
  if (typeof values !== 'object' || Array.isArray(values)) {
    throw new TriremeError('INVALID_CONFIG', `${path} does not hold settings`, {
      remedy: 'write one `key: value` a line',
    });
  }
  return { ...values };
}

function parseValue(field: Field<unknown>, { raw, origin }: Found): unknown {
  const value = field.parse(raw);
  if (value !== undefined) return value;
  throw new TriremeError('INVALID_CONFIG', `${origin}: ${JSON.stringify(raw)} is not allowed`, {
    remedy: `expected ${field.expected}`,
  });
}

function defaultOf(key: string, field: Field<unknown>): unknown {
  if (field.default) return field.default.value;
  throw new TriremeError('INVALID_CONFIG', `${key} is not set: ${field.help}`, {
    remedy: `give --${flagOf(key)} or ${variableOf(key)}: ${field.expected}`,
  });
}

function unknownName(what: string, known: readonly string[]): TriremeError {
  return new TriremeError('INVALID_CONFIG', `unknown ${what}`, { remedy: `known: ${known.join(', ')}` });
}

function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function variableOf(key: string): string {
  return envPrefix + flagOf(key).replaceAll('-', '_').toUpperCase();
}
