/** The tensors of a checkpoint, by the names that they would have if none were quantised: each format recognises its own. */
import type { Checkpoint } from '../checkpoint.ts';
import { awqTensor } from './awq-tensor.ts';
import { blockTensor } from './block-tensor.ts';
import { floatTensor } from './float-tensor.ts';
import { fp8Tensor } from './fp8-tensor.ts';
import { gptqTensor } from './gptq-tensor.ts';
import { HeldTensors } from './held-tensors.ts';
import { latentUpTensor } from './latent-up-tensor.ts';
import { mxfp4Tensor } from './mxfp4-tensor.ts';
import { packedTensor } from './packed-tensor.ts';
import { readQuantisation } from './quantisation-config.ts';
import { type ReadableTensor, ReadBuffer } from './readable-tensor.ts';
import { damaged } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

export class ReadableTensors {
  readonly #source: StoredSource;
  readonly #known = new Map<string, ReadableTensor | undefined>();

  /** Errors: those of readQuantisation. */
  constructor(checkpoint: Checkpoint) {
    const quantisation = readQuantisation(checkpoint.config);
    this.#source = { checkpoint, quantisation, buffer: new ReadBuffer(), held: new HeldTensors(checkpoint) };
  }

  /** undefined when it is not there, or stored in a form that is not read. Errors: INVALID_CHECKPOINT for a form that is spoilt. */
  get(name: string): ReadableTensor | undefined {
    if (!this.#known.has(name)) this.#known.set(name, recognise(this.#source, name));
    return this.#known.get(name);
  }
}

function recognise(source: StoredSource, name: string): ReadableTensor | undefined {
  return (
    floatTensor(source, name) ??
    fp8Tensor(source, name) ??
    packedTensor(source, name) ??
    transposedTensor(source, name) ??
    mxfp4Tensor(source, name) ??
    blockTensor(source, name) ??
    latentUpTensor(name, (part) => recognise(source, part))
  );
}

/** GPTQ and AWQ have the same names; which it is only config.json tells. */
function transposedTensor(source: StoredSource, name: string): ReadableTensor | undefined {
  const { gptq, awq } = source.quantisation;
  if (gptq) return gptqTensor(source, name, gptq);
  if (awq) return awqTensor(source, name, awq.group);
  const codes = name.replace(/[.]weight$/, '.qweight');
  if (codes === name || !source.checkpoint.tensor(codes)) return undefined;
  throw damaged(`tensor ${codes} is packed, but config.json does not say how it was quantised`);
}
