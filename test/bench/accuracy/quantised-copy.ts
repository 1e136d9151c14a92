/** A float checkpoint in the formats in which quantised ones are published: its matrices are rounded, the rest stays as it is. */
import { cp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { convertCheckpoint, toFloats } from '../../fixtures/gguf-checkpoint.ts';
import type { GgufTensor } from '../../fixtures/gguf-writer.ts';
import { packAwq, packCompressed, packGptq } from '../../fixtures/stored-matrix.ts';
import { changeConfig, changeTensors } from '../../fixtures/tiny-checkpoint.ts';
import type { TensorBytes } from '../../goldens/write-checkpoint.ts';
import { type FloatMatrix, roundToFp8, roundToInt4, roundToQ40, roundToQ80 } from './round-to-nearest.ts';

export interface PublishedFormat {
  readonly name: string;
  /** Writes a copy of the float checkpoint into the folder; returns what to open. */
  write(model: string, folder: string): Promise<string>;
}

/** Attention and experts; routers, norms and embeddings stay floats everywhere. */
const isRounded = (name: string): boolean => name.endsWith('_proj.weight');

type Pack = (name: string, matrix: FloatMatrix) => readonly TensorBytes[];

function inSafetensors(name: string, quantisation: object, pack: Pack): PublishedFormat {
  const rewrite = (tensor: TensorBytes): readonly TensorBytes[] => {
    if (!isRounded(tensor.name)) return [tensor];
    const [out = 0, columns = 0] = tensor.shape;
    return pack(tensor.name.replace('.weight', ''), { out, columns, values: toFloats(tensor).values });
  };
  return {
    name,
    async write(model, folder) {
      await cp(model, folder, { recursive: true });
      await changeConfig(folder, { quantization_config: quantisation });
      await changeTensors(folder, (tensors) => tensors.flatMap(rewrite));
      return folder;
    },
  };
}

function gptq(groupSize: number): PublishedFormat {
  const quantisation = { quant_method: 'gptq', bits: 4, group_size: groupSize, desc_act: false };
  return inSafetensors(`GPTQ, groups of ${groupSize}, zero points`, quantisation, (name, matrix) =>
    packGptq(name, roundToInt4(matrix, { groupSize, hasZeros: true })),
  );
}

function awq(groupSize: number): PublishedFormat {
  const quantisation = { quant_method: 'awq', bits: 4, group_size: groupSize, version: 'gemm' };
  return inSafetensors(`AWQ, groups of ${groupSize}, zero points`, quantisation, (name, matrix) =>
    packAwq(name, roundToInt4(matrix, { groupSize, hasZeros: true })),
  );
}

function compressedTensors(groupSize: number): PublishedFormat {
  const weights = { num_bits: 4, type: 'int', strategy: 'group', group_size: groupSize };
  const group = { weights, targets: ['Linear'] };
  const quantisation = {
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    config_groups: { group_0: group },
  };
  return inSafetensors(`compressed-tensors INT4, groups of ${groupSize}`, quantisation, (name, matrix) =>
    packCompressed(`${name}.weight`, roundToInt4(matrix, { groupSize, hasZeros: false })),
  );
}

function fp8(side: number): PublishedFormat {
  const quantisation = { quant_method: 'fp8', activation_scheme: 'dynamic', weight_block_size: [side, side] };
  return inSafetensors(`FP8, blocks of ${side} x ${side}`, quantisation, (name, matrix) => {
    const { bytes, scales, scaleShape } = roundToFp8(matrix, side);
    const scaleBytes = new Uint8Array(scales.buffer);
    return [
      { name: `${name}.weight`, dtype: 'F8_E4M3', shape: [matrix.out, matrix.columns], bytes },
      { name: `${name}.weight_scale_inv`, dtype: 'F32', shape: scaleShape, bytes: scaleBytes },
    ];
  });
}

function gguf(type: string, id: number, round: (values: Float32Array) => Uint8Array): PublishedFormat {
  const rewrite = (tensor: GgufTensor): GgufTensor => {
    if (!/[.](attn|ffn)_(q|k|v|output|gate_exps|up_exps|down_exps)[.]weight$/.test(tensor.name)) return tensor;
    return { ...tensor, type: id, bytes: round(new Float32Array(Uint8Array.from(tensor.bytes).buffer)) };
  };
  return {
    name: `GGUF ${type}`,
    async write(model, folder) {
      await cp(model, folder, { recursive: true });
      await changeConfig(folder, { rope_parameters: { rope_type: 'default', rope_theta: await ropeTheta(folder) } });
      const file = path.join(folder, `${type}.gguf`);
      await convertCheckpoint(folder, file, 'F32', ({ tensors, ...rest }) => ({
        ...rest,
        tensors: tensors.map(rewrite),
      }));
      return file;
    },
  };
}

async function ropeTheta(folder: string): Promise<number> {
  return JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8')).rope_theta;
}

export const publishedFormats: readonly PublishedFormat[] = [
  gptq(32),
  awq(64),
  compressedTensors(32),
  gguf('Q4_0', 2, roundToQ40),
  gguf('Q8_0', 8, roundToQ80),
  fp8(128),
];
