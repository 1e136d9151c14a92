/** The files that make up one GGUF model: one, or the parts NAME-00001-of-0000N.gguf that llama.cpp splits into. */
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';

export interface FileSet {
  readonly folder: string;
  /** File names in order. */
  readonly files: readonly string[];
  /** Without number and ending. */
  readonly name: string;
}

const partPattern = /^(.*)-(\d{5})-of-(\d{5})[.]gguf$/;
/** More parts than any model has. */
const mostParts = 10_000;
/** Of the choices in a message. */
const mostShown = 8;

export function isGgufName(file: string): boolean {
  return file.endsWith('.gguf');
}

/** Of a file of it; a part stands for all. */
export function fileSetOf(file: string): FileSet {
  const folder = path.dirname(file);
  const base = path.basename(file);
  const [, name, , count] = partPattern.exec(base) ?? [];
  if (name === undefined || Number(count) === 0) return { folder, files: [base], name: base.replace(/[.]gguf$/, '') };
  const parts = Math.min(Number(count), mostParts);
  const number = (part: number): string => String(part).padStart(5, '0');
  const files = Array.from({ length: parts }, (_, i) => `${name}-${number(i + 1)}-of-${count}.gguf`);
  return { folder, files, name };
}

/**
 * The one model among the names of a folder's files, or undefined without any. Errors: NOT_A_CHECKPOINT when there are several: which
 * one is meant?
 */
export function fileSetIn(folder: string, names: readonly string[]): FileSet | undefined {
  const sets = new Map<string, FileSet>();
  for (const file of names.filter(isGgufName).sort()) {
    const set = fileSetOf(path.join(folder, file));
    sets.set(set.files[0] ?? file, set);
  }
  if (sets.size <= 1) return sets.values().next().value;
  const choices = [...sets.keys()];
  const shown = choices.slice(0, mostShown).join(', ');
  const more = choices.length > mostShown ? ', ...' : '';
  throw new TriremeError('NOT_A_CHECKPOINT', `${folder} holds ${sets.size} GGUF models: ${shown}${more}`, {
    remedy: `Name the one you mean, for example ${path.join(folder, choices[0]!)}`,
  });
}
