/**
 * Log-probabilities under the raw logits: log-softmax before bias, penalties, temperature and filters. So do vLLM's
 * default (`raw_logprobs`) and, as far as it is documented, the OpenAI API; Hugging Face's `generate` returns processed
 * scores unless asked for logits. Raw values compare across requests, whatever their sampling settings.
 */
import type { BestTokens } from './best-tokens.ts';
import { expMinus } from './exponential.ts';
import type { TokenLogprobs } from './output.ts';

/** Of `token` and of the `count` best tokens of logits [vocabulary], whose largest is `top`. Natural logarithms. */
export function logprobsOf(
  logits: Float32Array,
  top: number,
  token: number,
  count: number,
  best: BestTokens,
): TokenLogprobs {
  const logOfSum = Math.log(sumOfExponentials(logits, top));
  const found = best.select(logits, count);
  // The difference first: large logits would swallow the digits of a small logarithm.
  const logprob = (id: number) => logits[id]! - top - logOfSum;
  return {
    logprob: logprob(token),
    top: Array.from({ length: found }, (_, index) => ({
      token: best.token(index),
      logprob: logprob(best.token(index)),
    })),
  };
}

function sumOfExponentials(logits: Float32Array, top: number): number {
  const { length } = logits;
  let sum = 0;
  for (let token = 0; token < length; token++) sum += expMinus(top - logits[token]!);
  return sum;
}
