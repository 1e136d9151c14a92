/**
 * How config.json says that weights are quantised, as far as reading them asks. Which tensors are quantised it need not say: each is
 * stored with its scales. Settings of activations (activation_scheme, input_activations, kv_cache_scheme) are ignored: they tell how
 * others round what is multiplied with the weights, and change no weight.
 */
import { TriremeError } from '#platform/errors.ts';
import { ConfigReader } from '../../models/config/config-reader.ts';

/** What has one scale in an FP8 matrix [out, in]: all of it, a row, or a block. */
export type Fp8Scaling =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'row' }
  | { readonly kind: 'block'; readonly rows: number; readonly columns: number };

/** Consecutive columns of a row with one scale; null: all of them. */
export type GroupSize = number | null;

export interface GptqSettings {
  readonly group: GroupSize;
  /** Columns belong to groups in any order, which g_idx tells. */
  readonly actOrder: boolean;
  /** What is added to a stored zero point. */
  readonly zeroOffset: 0 | 1;
}

export interface StoredQuantisation {
  /** How scales of FP8 may lie; which of them it is follows from a scale's shape. */
  readonly fp8: readonly Fp8Scaling[];
  /** Groups that tensors of compressed-tensors may have. */
  readonly packed: readonly GroupSize[];
  readonly gptq?: GptqSettings;
  readonly awq?: { readonly group: GroupSize };
}

const nothing: StoredQuantisation = { fp8: [], packed: [] };

const methods = new Map<string, (config: ConfigReader) => StoredQuantisation>([
  ['fp8', readFp8],
  ['compressed-tensors', readCompressed],
  ['gptq', readGptq],
  ['awq', readAwq],
  // All of it is in the tensors' names and shapes.
  ['mxfp4', () => nothing],
]);

/** `config` is the parsed config.json. Errors: INVALID_CHECKPOINT naming the method, format or setting that is not read. */
export function readQuantisation(config: unknown): StoredQuantisation {
  const whole = ConfigReader.over(config);
  const section = [whole, whole.section('text_config')]
    .flatMap((reader) => [reader?.section('quantization_config'), reader?.section('compression_config')])
    .find((found) => found !== undefined);
  if (!section) return nothing;
  const method = section.text('quant_method');
  if (method === undefined) throw section.missing('quant_method');
  const read = methods.get(method);
  if (!read) throw unread(section, 'quant_method', method, [...methods.keys()]);
  return read(section);
}

function unread(config: ConfigReader, name: string, value: unknown, supported: readonly (string | number)[]) {
  const { code, message } = config.unsupported(name, value, supported.join(', '));
  return new TriremeError(code, message, {
    remedy: 'Choose the model as it was before it was quantised, or quantised in a form that is supported',
  });
}

/** Errors: INVALID_CHECKPOINT unless the field is one of these words. */
function requireWord(config: ConfigReader, name: string, words: readonly string[], fallback?: string): string {
  const value = config.text(name) ?? fallback;
  if (value === undefined) throw config.missing(name);
  if (!words.includes(value)) throw unread(config, name, value, words);
  return value;
}

function requireBits(config: ConfigReader, name: string, bits: number): void {
  const found = config.size(name);
  if (found !== bits) throw unread(config, name, found, [bits]);
}

/** -1 is how files write "the whole row". */
function readGroup(config: ConfigReader, name: string): GroupSize {
  return config.isNumber(name, -1) ? null : config.size(name);
}

function readBlock(config: ConfigReader, name: string): Fp8Scaling | undefined {
  const isSize = (value: unknown): value is number => Number.isInteger(value) && Number(value) > 0;
  const sizes = config.list(name, 'two sizes', isSize);
  if (sizes.length === 0) return undefined;
  const [rows, columns] = sizes;
  if (sizes.length !== 2 || rows === undefined || columns === undefined) throw config.odd(name, sizes, 'two sizes');
  return { kind: 'block', rows, columns };
}

function readFp8(config: ConfigReader): StoredQuantisation {
  requireWord(config, 'fmt', ['e4m3'], 'e4m3');
  const block = readBlock(config, 'weight_block_size');
  return { ...nothing, fp8: block ? [block] : [{ kind: 'tensor' }, { kind: 'row' }] };
}

const compressedFormats = ['float-quantized', 'naive-quantized', 'pack-quantized', 'mixed-precision'];

function readCompressed(config: ConfigReader): StoredQuantisation {
  requireWord(config, 'format', compressedFormats);
  // Both change what a stored weight means.
  for (const [name, field] of [
    ['sparsity_config', 'format'],
    ['transform_config', 'config_groups'],
  ] as const) {
    const section = config.section(name);
    if (section?.has(field) && !(field === 'format' && section.text(field) === 'dense')) {
      throw unread(config, name, section.names.join(', '), ['none']);
    }
  }
  const groups = config.section('config_groups');
  if (!groups) throw config.missing('config_groups');
  const read = groups.names.map((name) => readCompressedGroup(groups.section(name)));
  return { fp8: read.flatMap(({ fp8 }) => fp8), packed: read.flatMap(({ packed }) => packed) };
}

function readCompressedGroup(group: ConfigReader | undefined): StoredQuantisation {
  const weights = group?.section('weights');
  if (!group || !weights) return nothing;
  requireWord(group, 'format', compressedFormats, compressedFormats[0]);
  if (requireWord(weights, 'type', ['float', 'int']) === 'float') {
    requireBits(weights, 'num_bits', 8);
    return { ...nothing, fp8: [readCompressedScaling(weights)] };
  }
  requireBits(weights, 'num_bits', 4);
  const strategy = requireWord(weights, 'strategy', ['group', 'channel']);
  return { ...nothing, packed: [strategy === 'channel' ? null : readGroup(weights, 'group_size')] };
}

function readCompressedScaling(weights: ConfigReader): Fp8Scaling {
  const strategy = requireWord(weights, 'strategy', ['tensor', 'channel', 'block']);
  if (strategy === 'tensor') return { kind: 'tensor' };
  if (strategy === 'channel') return { kind: 'row' };
  const block = readBlock(weights, 'block_structure');
  if (!block) throw weights.missing('block_structure');
  return block;
}

function readGptq(config: ConfigReader): StoredQuantisation {
  requireBits(config, 'bits', 4);
  const format = requireWord(config, 'checkpoint_format', ['gptq', 'gptq_v2'], 'gptq');
  refuseOverrides(config);
  const gptq: GptqSettings = {
    group: readGroup(config, 'group_size'),
    actOrder: config.flag('desc_act', false),
    zeroOffset: format === 'gptq' ? 1 : 0,
  };
  return { ...nothing, gptq };
}

/** Some modules may be excepted ("-:pattern"), which shows in what is stored; none may have settings of their own. */
function refuseOverrides(config: ConfigReader): void {
  const odd = config.section('dynamic')?.names.find((pattern) => !pattern.startsWith('-:'));
  if (odd !== undefined) throw unread(config, 'dynamic', odd, ['-:pattern']);
}

function readAwq(config: ConfigReader): StoredQuantisation {
  const [bits, group] = [
    config.has('w_bit') ? 'w_bit' : 'bits',
    config.has('q_group_size') ? 'q_group_size' : 'group_size',
  ];
  requireBits(config, bits, 4);
  requireWord(config, 'version', ['gemm'], 'gemm');
  if (!config.flag('zero_point', true)) throw unread(config, 'zero_point', false, ['true']);
  return { ...nothing, awq: { group: readGroup(config, group) } };
}
