/** The kinds of configuration field. Each reads the text of a flag or variable, or the value of a YAML key. */
import { parseListenAddress } from './listen.ts';

export interface Field<T> {
  readonly help: string;
  /** What a value may be, as the end of the sentence "expected ...". */
  readonly expected: string;
  readonly default: { readonly value: T } | undefined;
  /** True for flags that stand alone: --name and --no-name. */
  readonly isSwitch: boolean;
  /** undefined: not such a value. */
  parse(raw: unknown): T | undefined;
}

interface Facts<T> {
  readonly help: string;
  /** Without a default the field must be set. */
  readonly default?: T;
}

interface Range {
  readonly min?: number;
  readonly max?: number;
}

function field<T>(
  facts: Facts<T>,
  expected: string,
  parse: (raw: unknown) => T | undefined,
  isSwitch = false,
): Field<T> {
  return {
    help: facts.help,
    expected,
    default: facts.default === undefined ? undefined : { value: facts.default },
    isSwitch,
    parse,
  };
}

export function text(facts: Facts<string>): Field<string> {
  return field(facts, 'a text that is not empty', (raw) => (typeof raw === 'string' && raw !== '' ? raw : undefined));
}

/** The same field, but it may be left unset. */
export function optional<T>(inner: Field<T>): Field<T | undefined> {
  return { ...inner, default: { value: undefined } };
}

export function integer(facts: Facts<number> & Range): Field<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = facts;
  return field(facts, `a whole number from ${min} to ${max}`, (raw) => {
    const value = typeof raw === 'string' && /^-?\d+$/.test(raw) ? Number(raw) : raw;
    return Number.isSafeInteger(value) && inRange(value as number, min, max) ? (value as number) : undefined;
  });
}

export function decimal(facts: Facts<number> & Range): Field<number> {
  const { min = 0, max = Number.MAX_VALUE } = facts;
  return field(facts, `a number from ${min} to ${max}`, (raw) => {
    const value = typeof raw === 'string' && /^-?\d+(\.\d+)?$/.test(raw) ? Number(raw) : raw;
    return typeof value === 'number' && inRange(value, min, max) ? value : undefined;
  });
}

export function toggle(facts: Facts<boolean>): Field<boolean> {
  const values = new Map<unknown, boolean>([
    [true, true],
    ['true', true],
    [false, false],
    ['false', false],
  ]);
  return field(facts, 'true or false', (raw) => values.get(raw), true);
}

export function oneOf<const T extends string>(choices: readonly T[], facts: Facts<NoInfer<T>>): Field<T> {
  return field<T>(facts, `one of ${choices.join(', ')}`, (raw) => choices.find((choice) => choice === raw));
}

/** A comma-separated list, or a YAML sequence of texts. */
export function textList(facts: Facts<readonly string[]>): Field<readonly string[]> {
  return field(facts, 'texts separated by commas', (raw) => {
    const items: unknown = typeof raw === 'string' ? raw.split(',').map((item) => item.trim()) : raw;
    if (!Array.isArray(items)) return undefined;
    return items.every((item) => typeof item === 'string' && item !== '') ? Object.freeze([...items]) : undefined;
  });
}

/** host:port; port 0 takes any free one. */
export function listenAddress(facts: Facts<string>): Field<string> {
  return field(facts, 'host:port, such as 127.0.0.1:9010', (raw) => accepted(raw, parseListenAddress));
}

/** One or several URLs of one server or cluster, separated by commas. */
export function urls(schemes: readonly string[], facts: Facts<readonly string[]>): Field<readonly string[]> {
  const inner = textList(facts);
  const isUrl = (item: string): boolean => {
    const url = URL.parse(item);
    return url !== null && schemes.includes(url.protocol.slice(0, -1)) && url.host !== '';
  };
  return field(
    facts,
    `${schemes.join(' or ')} URLs such as ${schemes[0]}://127.0.0.1:1234, separated by commas`,
    (raw) => {
      const items = inner.parse(raw);
      return items?.every(isUrl) ? items : undefined;
    },
  );
}

const durationUnitsMs: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** What a timer of Node can wait for, 24 days; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** 250ms, 5s, 2m, 1h; in milliseconds. */
export function durationMs(facts: Facts<number> & Range): Field<number> {
  return withUnits(
    { max: maxTimerMs, ...facts },
    durationUnitsMs,
    'a duration with its unit, such as 250ms, 5s, 2m or 1h',
    'ms',
  );
}

const sizeUnits: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
]);

/** 512B, 64KiB, 16MiB, 2GiB; in bytes. */
export function byteSize(facts: Facts<number> & Range): Field<number> {
  return withUnits(facts, sizeUnits, 'a size with its unit, such as 512B, 64KiB, 16MiB or 2GiB', 'B');
}

function withUnits(
  facts: Facts<number> & Range,
  units: ReadonlyMap<string, number>,
  form: string,
  base: string,
): Field<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = facts;
  const limits = facts.max === undefined ? `at least ${min}${base}` : `from ${min}${base} to ${max}${base}`;
  return field(facts, `${form}, ${limits}`, (raw) => {
    const match = typeof raw === 'string' ? /^(\d+(?:\.\d+)?)([a-zA-Z]+)$/.exec(raw) : null;
    const unit = units.get(match?.[2] ?? '');
    if (unit === undefined) return undefined;
    const value = Number(match?.[1]) * unit;
    return Number.isSafeInteger(value) && inRange(value, min, max) ? value : undefined;
  });
}

function inRange(value: number, min: number, max: number): boolean {
  return value >= min && value <= max;
}

/** The text itself when `check` does not throw. */
function accepted(raw: unknown, check: (text: string) => unknown): string | undefined {
  if (typeof raw !== 'string') return undefined;
  try {
    check(raw);
    return raw;
  } catch {
    return undefined; // The field's own `expected` says what is wrong, and where the value came from.
  }
}
