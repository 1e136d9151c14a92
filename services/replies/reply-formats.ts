/** All formats, and which of them a model uses. */
import { deepseekV3, deepseekV31 } from './formats/deepseek.ts';
import { deepseekV4, deepseekV32 } from './formats/deepseek-dsml.ts';
import { ernie } from './formats/ernie.ts';
import { glm } from './formats/glm.ts';
import { harmony } from './formats/harmony.ts';
import { hermes } from './formats/hermes.ts';
import { hunyuan } from './formats/hunyuan.ts';
import { kimi } from './formats/kimi.ts';
import { minimax } from './formats/minimax.ts';
import { qwenXml } from './formats/qwen-xml.ts';
import { think } from './formats/think.ts';
import type { ReplyFormat } from './reply-format.ts';

/** Where the signs of one are among those of another, the one that asks for more comes first. */
export const replyFormats: readonly ReplyFormat[] = [
  harmony,
  kimi,
  deepseekV4,
  deepseekV32,
  deepseekV3,
  deepseekV31,
  minimax,
  hunyuan,
  ernie,
  glm,
  qwenXml,
  hermes,
  think,
];

export function replyFormatNamed(name: string): ReplyFormat | undefined {
  return replyFormats.find((format) => format.name === name);
}

/**
 * The chat template decides, since the model sees what it writes; a vocabulary may have tokens that a model never uses. Only
 * where the template shows no sign the added tokens count. undefined: the model's replies are plain text.
 */
export function chooseReplyFormat(
  templates: readonly string[],
  addedTokens: ReadonlySet<string>,
): ReplyFormat | undefined {
  const template = templates.join('\n');
  return (
    replyFormats.find(({ signs }) => signs.every((sign) => template.includes(sign))) ??
    replyFormats.find(({ signs }) => signs.every((sign) => addedTokens.has(sign)))
  );
}
