/** Arithmetic of the reference forward pass: float64, one vector at a time, as a textbook writes it. */

export type Vector = Float64Array;

/** Values in row-major order. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly values: Vector;
}

export function zeros(length: number): Vector {
  return new Float64Array(length);
}

export function add(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value + b[i]!);
}

export function multiply(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value * b[i]!);
}

export function scale(a: Vector, factor: number): Vector {
  return a.map((value) => value * factor);
}

export function dot(a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export function concatenate(...parts: readonly Vector[]): Vector {
  return Float64Array.from(parts.flatMap((part) => [...part]));
}

/** Cuts into pieces of the sizes given; what is left over is an error. */
export function cut(vector: Vector, ...sizes: readonly number[]): Vector[] {
  let end = 0;
  const pieces = sizes.map((size) => {
    end += size;
    return vector.slice(end - size, end);
  });
  if (end !== vector.length) throw new Error(`${vector.length} values do not make pieces of ${sizes.join(' + ')}`);
  return pieces;
}

/** `count` pieces of one size. */
export function cutEvenly(vector: Vector, count: number): Vector[] {
  return cut(vector, ...Array<number>(count).fill(vector.length / count));
}

/** y = W x with W [out, in] as checkpoints store it. */
export function matrixTimes({ shape, values }: Tensor, x: Vector): Vector {
  const [rows = 0, columns = 0] = shape;
  if (columns !== x.length) throw new Error(`a matrix [${shape.join(', ')}] meets a vector of ${x.length}`);
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += values[row * columns + column]! * x[column]!;
    return sum;
  });
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function silu(x: number): number {
  return x * sigmoid(x);
}

export function softmax(logits: Vector): Vector {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return scale(powers, 1 / sum);
}

/** x / sqrt(mean(x^2) + epsilon), without a weight. */
export function rmsNormalised(x: Vector, epsilon: number): Vector {
  return scale(x, 1 / Math.sqrt(dot(x, x) / x.length + epsilon));
}

export function layerNorm(x: Vector, weight: Vector, bias: Vector, epsilon: number): Vector {
  const mean = x.reduce((a, b) => a + b) / x.length;
  const centred = x.map((value) => value - mean);
  return add(multiply(rmsNormalised(centred, epsilon), weight), bias);
}

/** Sum of weights[i] vectors[i]. */
export function weightedSum(weights: ArrayLike<number>, vectors: readonly Vector[]): Vector {
  const sum = zeros(vectors[0]!.length);
  for (const [i, vector] of vectors.entries())
    for (const [j, value] of vector.entries()) sum[j]! += weights[i]! * value;
  return sum;
}
