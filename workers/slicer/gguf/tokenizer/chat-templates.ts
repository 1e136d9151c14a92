/** Chat templates of a GGUF file, as tokenizer_config.json has them. */
import type { Metadata } from '../metadata.ts';

interface NamedTemplate {
  readonly name: string;
  readonly template: string;
}

/** undefined without any. Errors: INVALID_CHECKPOINT for a template that is no text, or that is named and not there. */
export function chatTemplates(metadata: Metadata): string | readonly NamedTemplate[] | undefined {
  const usual = metadata.text('tokenizer.chat_template');
  const names = metadata.texts('tokenizer.chat_templates') ?? [];
  const others = names.map((name) => {
    const key = `tokenizer.chat_template.${name}`;
    const template = metadata.text(key);
    if (template === undefined) throw metadata.missing(key);
    return { name, template };
  });
  if (usual === undefined || others.length === 0) return usual;
  return [{ name: 'default', template: usual }, ...others];
}
