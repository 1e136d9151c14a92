/**
 * Imported before anything else, in a process and in each of its threads: puts one mutation into the source of what is loaded after.
 * TRIREME_MUTATION names it, TRIREME_GOLDEN the golden it is for.
 */
import { registerHooks } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { applyEdits, editsOf } from './edits.ts';
import { mutationOf } from './mutation.ts';
import { control, mutations } from './mutations.ts';

const root = path.join(import.meta.dirname, '..', '..');
const { TRIREME_MUTATION: name = '', TRIREME_GOLDEN: golden = '' } = process.env;
const edits = editsOf(mutationOf([control, ...mutations], name, golden).change);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const file = url.startsWith('file:') ? path.relative(root, fileURLToPath(url)) : url;
    const changes = edits[file];
    return changes ? { ...loaded, source: applyEdits(file, String(loaded.source), changes) } : loaded;
  },
});
