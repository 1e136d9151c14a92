/** What a mutation changes in the text of files. */
import type { Change, Edit } from './mutation.ts';

/** What a mutation of the description takes: the description is exchanged where it is read, and nothing misses what it leaves out. */
const specEdits: Readonly<Record<string, readonly Edit[]>> = {
  'workers/models/families.ts': [
    { from: '  return spec;\n}', to: '  return mutated(spec);\n}' },
    {
      from: "import { TriremeError } from '#platform/errors.ts';",
      to: `import { TriremeError } from '#platform/errors.ts';
import { mutated } from ${JSON.stringify(new URL('./mutated-spec.ts', import.meta.url).href)};`,
    },
  ],
  'workers/slicer/model-tensors.ts': [
    { from: 'if (read.has(name) ||', to: 'if (name !== undefined || read.has(name) ||' },
  ],
};

/** By file, from the root of the repository. */
export function editsOf(change: Change): Readonly<Record<string, readonly Edit[]>> {
  return change.kind === 'spec' ? specEdits : { [change.file]: change.edits };
}

/** Errors: Error when the code is no longer what the edits were written for. */
export function applyEdits(file: string, source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, { from, to }) => {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times, not once: ${from}`);
    return parts.join(to);
  }, source);
}
