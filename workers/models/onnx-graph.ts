/**
 * Builds an ONNX model node by node and encodes it. Names are free; the builder only makes unique ones for values that
 * nobody asks for by name. Opset 23, IR version 10, plus the com.microsoft domain of ONNX Runtime.
 */

import { assert } from '#platform/assert.ts';
import { type AttributeProto, ModelProto, type NodeProto, type TensorProto, type ValueInfoProto } from '#proto/onnx.ts';

/** ONNX element types, with the wire numbers of TensorProto.DataType. */
export const elementTypes = { f32: 1, u8: 2, i8: 3, i32: 6, i64: 7, bool: 9, f16: 10, bf16: 16 } as const;
export type ElementType = keyof typeof elementTypes;

/** A fixed size, or the name of one that is known at run time. */
export type Dimension = number | string;

/** int: number; float: {float}; ints: number[]; string. ONNX keeps them apart, so must the caller. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

/** A range of an external data file; offset and length in bytes. */
export interface ExternalRange {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

const microsoftOperators = new Set([
  'CausalConvWithState',
  'FusedMatMul',
  'LinearAttention',
  'MatMulNBits',
  'QuickGelu',
  'RotaryEmbedding',
]);

function encodeAttribute(name: string, value: Attribute): AttributeProto {
  const empty = { name, f: undefined, i: undefined, s: undefined, floats: [], ints: [] };
  if (typeof value === 'number') {
    assert(Number.isInteger(value), `attribute ${name} is not an integer; write {float: ${value}}`);
    return { ...empty, i: value, type: 2 };
  }
  if (typeof value === 'string') return { ...empty, s: Buffer.from(value), type: 3 };
  if ('float' in value) return { ...empty, f: value.float, type: 1 };
  return { ...empty, ints: [...value], type: 7 };
}

function describeValue(name: string, type: ElementType, shape: readonly Dimension[]): ValueInfoProto {
  const dim = shape.map((size) =>
    typeof size === 'number' ? { dimValue: size, dimParam: undefined } : { dimValue: undefined, dimParam: size },
  );
  return { name, type: { tensorType: { elemType: elementTypes[type], shape: { dim } } } };
}

export class OnnxGraph {
  readonly #name: string;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  #valueCount = 0;

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.#inputs.push(describeValue(name, type, shape));
    return name;
  }

  /** Declares a value that a node has produced under this name. */
  output(name: string, type: ElementType, shape: readonly Dimension[]): void {
    this.#outputs.push(describeValue(name, type, shape));
  }

  /** A constant whose bytes travel inside the model: shapes, scalars. */
  constant(name: string, type: ElementType, dims: readonly number[], bytes: Uint8Array): string {
    this.#initializers.push({
      dims: [...dims],
      dataType: elementTypes[type],
      name,
      rawData: Buffer.from(bytes),
      externalData: [],
      dataLocation: undefined,
    });
    return name;
  }

  i64(name: string, values: readonly number[], dims: readonly number[] = [values.length]): string {
    return this.constant(name, 'i64', dims, new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  f32(name: string, values: readonly number[], dims: readonly number[] = [values.length]): string {
    return this.constant(name, 'f32', dims, new Uint8Array(Float32Array.from(values).buffer));
  }

  /** A constant whose bytes lie in a file beside the model. */
  external(name: string, type: ElementType, dims: readonly number[], range: ExternalRange): string {
    const externalData = [
      { key: 'location', value: range.location },
      { key: 'offset', value: String(range.offset) },
      { key: 'length', value: String(range.length) },
    ];
    this.#initializers.push({
      dims: [...dims],
      dataType: elementTypes[type],
      name,
      rawData: undefined,
      externalData,
      dataLocation: 1,
    });
    return name;
  }

  /** A float32 constant without dimensions. */
  scalar(name: string, value: number): string {
    return this.f32(name, [value], []);
  }

  /** A name that no other value of the graph has. */
  unique(prefix: string): string {
    return `${prefix}_${this.#valueCount++}`;
  }

  /** Adds a node with one output and returns that output's name. An empty input name means: left out. */
  node(
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output?: string,
  ): string {
    const name = output ?? this.unique(operator);
    this.nodes(operator, inputs, attributes, [name]);
    return name;
  }

  /** Adds a node with the given outputs; an empty output name means: not wanted. */
  nodes(
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>>,
    outputs: readonly string[],
  ): void {
    this.#nodes.push({
      input: [...inputs],
      output: [...outputs],
      name: outputs.find((name) => name !== '') ?? operator,
      opType: operator,
      attribute: Object.entries(attributes).map(([key, value]) => encodeAttribute(key, value)),
      domain: microsoftOperators.has(operator) ? 'com.microsoft' : '',
    });
  }

  /** x in parts along an axis, of these sizes. */
  split(x: string, axis: number, sizes: readonly number[]): readonly string[] {
    const outputs = sizes.map((_, i) => `${x}_part${i}`);
    this.nodes('Split', [x, this.i64(`${x}_sizes`, sizes)], { axis }, outputs);
    return outputs;
  }

  encode(): Uint8Array {
    const graph = {
      node: this.#nodes,
      name: this.#name,
      initializer: this.#initializers,
      input: this.#inputs,
      output: this.#outputs,
    };
    return ModelProto.encode({
      irVersion: 10,
      producerName: 'trireme',
      graph,
      opsetImport: [
        { domain: '', version: 23 },
        { domain: 'com.microsoft', version: 1 },
      ],
    }).finish();
  }
}
