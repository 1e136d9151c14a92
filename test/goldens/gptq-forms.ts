/** A GPTQ checkpoint of version 1 in the other forms that GPTQ has, with the same weights bit by bit: one golden holds for all. */
import { cp, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { changeConfig, readTensors } from '../fixtures/tiny-checkpoint.ts';
import { type TensorBytes, writeSafetensors } from './write-checkpoint.ts';

/** v2: zero points as they are. desc_act: the groups of every matrix change places, and g_idx says so. */
export const gptqForms = ['v2', 'desc_act'] as const;
export type GptqForm = (typeof gptqForms)[number];

async function settingsOf(checkpoint: string): Promise<Readonly<Record<string, unknown>>> {
  const config = JSON.parse(await readFile(path.join(checkpoint, 'config.json'), 'utf8'));
  return config.quantization_config ?? {};
}

/** Those that it is not in: none for one that is not GPTQ of version 1 with groups in order. */
export async function otherForms(checkpoint: string): Promise<readonly GptqForm[]> {
  const { quant_method: method, checkpoint_format: version = 'gptq', desc_act } = await settingsOf(checkpoint);
  return method === 'gptq' && version === 'gptq' && desc_act !== true ? gptqForms : [];
}

export async function rewriteGptq(checkpoint: string, form: GptqForm, folder: string): Promise<void> {
  await cp(checkpoint, folder, { recursive: true });
  const change = form === 'v2' ? { checkpoint_format: 'gptq_v2' } : { desc_act: true };
  await changeConfig(folder, { quantization_config: { ...(await settingsOf(checkpoint)), ...change } });
  const rewrite = form === 'v2' ? withPlainZeros : withGroupsReversed;
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.safetensors'))) {
    const tensors = await readTensors(path.join(folder, file));
    await writeSafetensors(path.join(folder, file), tensors.map(rewrite));
  }
}

function withPlainZeros(tensor: TensorBytes): TensorBytes {
  if (!tensor.name.endsWith('.qzeros')) return tensor;
  const raised = (byte: number): number => ((byte + 1) & 15) | ((byte + 16) & 0xf0);
  return { ...tensor, bytes: Uint8Array.from(tensor.bytes, raised) };
}

function withGroupsReversed(tensor: TensorBytes): TensorBytes {
  if (/[.](qzeros|scales)$/.test(tensor.name)) return { ...tensor, bytes: rowsReversed(tensor) };
  if (!tensor.name.endsWith('.g_idx')) return tensor;
  const groups = new Int32Array(Uint8Array.from(tensor.bytes).buffer);
  const last = groups.reduce((most, group) => Math.max(most, group), 0);
  return { ...tensor, bytes: new Uint8Array(groups.map((group) => last - group).buffer) };
}

function rowsReversed({ shape, bytes }: TensorBytes): Uint8Array {
  const rows = shape[0] ?? 1;
  const size = bytes.length / rows;
  const turned = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    turned.set(bytes.subarray((rows - 1 - row) * size, (rows - row) * size), row * size);
  }
  return turned;
}
