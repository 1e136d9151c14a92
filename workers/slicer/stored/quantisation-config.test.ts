import { describe, expect, it } from 'vitest';
import { readQuantisation } from './quantisation-config.ts';

const read = (quantization_config: object) => readQuantisation({ quantization_config });
const compressed = (weights: object, more = {}) => ({
  quant_method: 'compressed-tensors',
  format: 'pack-quantized',
  config_groups: { group_0: { targets: ['Linear'], weights } },
  ...more,
});
const int4 = { num_bits: 4, type: 'int', strategy: 'group', group_size: 32 };
const gptq = { quant_method: 'gptq', bits: 4, group_size: 128 };

describe('config.json says how weights are quantised', () => {
  it('or nothing', () => {
    expect(readQuantisation({})).toEqual({ fp8: [], packed: [] });
    expect(readQuantisation({ quantization_config: null })).toEqual({ fp8: [], packed: [] });
  });

  it('at the top, or for the text part of a model', () => {
    const config = { quant_method: 'fp8', weight_block_size: [128, 64] };
    const expected = { fp8: [{ kind: 'block', rows: 128, columns: 64 }], packed: [] };
    expect(readQuantisation({ quantization_config: config })).toEqual(expected);
    expect(readQuantisation({ text_config: { quantization_config: config } })).toEqual(expected);
  });

  it('in groups of different kinds', () => {
    const groups = {
      group_0: { weights: { num_bits: 8, type: 'float', strategy: 'channel' }, format: 'float-quantized' },
      group_1: { weights: { ...int4, strategy: 'channel', group_size: null }, format: 'pack-quantized' },
      group_2: { weights: null, input_activations: { num_bits: 8 } },
    };
    const config = { quant_method: 'compressed-tensors', format: 'mixed-precision', config_groups: groups };
    expect(read(config)).toEqual({ fp8: [{ kind: 'row' }], packed: [null] });
  });

  it('whatever it says of activations', () => {
    const activations = { num_bits: 8, type: 'float', strategy: 'token', dynamic: true };
    const config = compressed(int4, { kv_cache_scheme: { num_bits: 8 }, ignore: ['lm_head'] });
    const group = { targets: ['Linear'], weights: int4, input_activations: activations };
    expect(read({ ...config, config_groups: { group_0: group } })).toEqual({ fp8: [], packed: [32] });
  });

  it('with a group of -1 for whole rows', () => {
    expect(read({ ...gptq, group_size: -1 }).gptq).toEqual({ group: null, actOrder: false, zeroOffset: 1 });
    expect(read({ ...gptq, desc_act: true, checkpoint_format: 'gptq_v2' }).gptq).toEqual({
      group: 128,
      actOrder: true,
      zeroOffset: 0,
    });
    expect(read({ quant_method: 'awq', w_bit: 4, q_group_size: 64, version: 'gemm' }).awq).toEqual({ group: 64 });
  });
});

describe('refused, by name and with what would do', () => {
  it.each([
    [
      'an unknown method',
      { quant_method: 'bitsandbytes' },
      /quant_method is "bitsandbytes".*supported: fp8, compressed-tensors, gptq, awq, mxfp4/,
    ],
    ['no method', { bits: 4 }, /no field quantization_config.quant_method/],
    ['other floats', { quant_method: 'fp8', fmt: 'e5m2' }, /fmt is "e5m2".*supported: e4m3/],
    ['a block of one size', { quant_method: 'fp8', weight_block_size: [128] }, /weight_block_size is \[128\]/],
    ['GPTQ in 8 bits', { ...gptq, bits: 8 }, /bits is 8.*supported: 4/],
    ['GPTQ in 3 bits', { ...gptq, bits: 3 }, /bits is 3.*supported: 4/],
    ['GPTQ in another form', { ...gptq, checkpoint_format: 'marlin' }, /checkpoint_format is "marlin".*gptq, gptq_v2/],
    ['GPTQ by module', { ...gptq, dynamic: { '+:.*down.*': { bits: 8 } } }, /dynamic is "\+:.*down.*"/],
    ['GPTQ without a group size', { quant_method: 'gptq', bits: 4 }, /no field quantization_config.group_size/],
    [
      'AWQ in another form',
      { quant_method: 'awq', bits: 4, group_size: 32, version: 'gemv' },
      /version is "gemv".*gemm/,
    ],
    ['AWQ in 8 bits', { quant_method: 'awq', bits: 8, group_size: 32 }, /bits is 8/],
    [
      'AWQ without zero points',
      { quant_method: 'awq', bits: 4, group_size: 32, zero_point: false },
      /zero_point is false/,
    ],
    ['packed 8 bits', compressed({ ...int4, num_bits: 8 }), /weights.num_bits is 8.*supported: 4/],
    ['4-bit floats', compressed({ ...int4, type: 'float' }), /num_bits is 4.*supported: 8/],
    ['another strategy', compressed({ ...int4, strategy: 'tensor_group' }), /strategy is "tensor_group"/],
    ['blocks without a size', compressed({ num_bits: 8, type: 'float', strategy: 'block' }), /block_structure/],
    ['another packing', compressed(int4, { format: 'nvfp4-pack-quantized' }), /format is "nvfp4-pack-quantized"/],
    ['sparse weights', compressed(int4, { sparsity_config: { format: 'sparse-24-bitmask' } }), /sparsity_config/],
    ['rotated weights', compressed(int4, { transform_config: { config_groups: { a: {} } } }), /transform_config/],
    [
      'no groups',
      { quant_method: 'compressed-tensors', format: 'pack-quantized' },
      /no field quantization_config.config_groups/,
    ],
  ])('%s', (_, config, message) => {
    expect(() => read(config)).toThrow(
      expect.objectContaining({ code: 'INVALID_CHECKPOINT', message: expect.stringMatching(message) }),
    );
  });

  it('says what to do', () => {
    expect(() => read({ quant_method: 'hqq' })).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('before it was quantised') }),
    );
  });

  it('not dense sparsity, which is none', () => {
    expect(read(compressed(int4, { sparsity_config: { format: 'dense' } })).packed).toEqual([32]);
    expect(read(compressed(int4, { sparsity_config: {}, transform_config: {} })).packed).toEqual([32]);
  });
});
