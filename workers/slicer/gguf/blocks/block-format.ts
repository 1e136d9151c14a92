/** Values of a row that are stored together, with what scales them. */
export interface BlockFormat {
  readonly blockValues: number;
  readonly blockBytes: number;
  /**
   * Writes the block that begins at byte `at` to `values` from `out` on. Every product is exact in double precision, so rounding once
   * to float32 gives what ggml's single-precision arithmetic gives.
   */
  decode(view: DataView, at: number, values: Float32Array, out: number): void;
}
