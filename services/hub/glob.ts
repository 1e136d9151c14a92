/** Patterns as other tools around the Hub read them: `*` also matches `/`, and a folder stands for all in it. */

/** Whether a path matches: `*` any text, `?` one character, `[abc]` and `[!abc]` one of a set. */
export function matchesGlob(path: string, pattern: string): boolean {
  return expressionOf(pattern.endsWith('/') ? `${pattern}*` : pattern).test(path);
}

/** A `[` without its end stands for itself; several stars in a row are one, so that a long row cannot take for ever. */
function expressionOf(pattern: string): RegExp {
  const source = pattern.replace(/\*+|\?|\[(!?)(\]?[^\]]*)\]|[^*?[]+|\[/g, (token, negation: string, set: string) => {
    if (token.startsWith('*')) return '.*';
    if (token === '?') return '.';
    if (set === undefined) return token.replace(/[.+^${}()|\]\\[/-]/g, '\\$&');
    return `[${negation === '!' ? '^' : ''}${set.replace(/[\\\]^[&~|]/g, '\\$&')}]`;
  });
  return new RegExp(`^${source}$`, 's');
}
