/** What the parts of a split GGUF file say of each other. */
import { TriremeError } from '#platform/errors.ts';
import type { Metadata } from './metadata.ts';

/** `parts` in the order of their names. Errors: INVALID_CHECKPOINT when they are not all parts of one file, in this order. */
export function refuseOtherParts(parts: readonly Metadata[], tensors: number): void {
  for (const [number, part] of parts.entries()) {
    const count = part.count('split.count') ?? 0;
    const isWhole = parts.length === 1 && count <= 1;
    if (isWhole) continue;
    if (count !== parts.length) {
      throw other(part, `says that it is one of ${count} parts, of which ${parts.length} are here under such names`);
    }
    const own = part.count('split.no');
    if (own !== number) throw other(part, `says that it is part ${own} from 0, its name that it is ${number}`);
  }
  const said = parts[0]?.count('split.tensors.count');
  if (said === undefined || said === tensors) return;
  throw other(parts[0]!, `says that its parts hold ${said} tensors, they hold ${tensors}`);
}

function other(part: Metadata, what: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${part.file} ${what}`, {
    remedy: 'Fetch all parts of the model, under the names NAME-00001-of-0000N.gguf that they had',
  });
}
