/** The one gate where an error becomes a line on stderr and an exit status. */
import { CommanderError } from 'commander';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import type { Terminal } from './terminal.ts';

/**
 * One line: `CODE: what. What to do about it`, or with --json the same as an object. A fault of our own has its stack below
 * it, for whoever reports it. Returns the exit status.
 */
export function reportError(error: unknown, terminal: Terminal, asJson: boolean): number {
  const known = error instanceof CommanderError ? fromCommander(error) : TriremeError.from(error);
  const { code, message, remedy } = known;
  const { exit } = errorCodes[code];
  if (asJson) terminal.note(JSON.stringify({ error: { code, message, remedy, exit } }));
  else terminal.note(known.toLine());
  if (code === 'INTERNAL' && error instanceof Error && error.stack) terminal.note(error.stack);
  return exit;
}

/** "error: option '--ranks <count>' argument 'x' is invalid. ..." loses its first word. */
function fromCommander({ message }: CommanderError): TriremeError {
  const text = message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/[.]$/, '');
  return new TriremeError('INVALID_ARGUMENT', text, { remedy: 'Add --help for what there is' });
}
