/** The command line. Each command is a file; here are only the program, and the one gate where an error becomes a line and a status. */
import { Command, CommanderError } from 'commander';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { addGenerate } from './commands/generate.ts';
import { addInspect } from './commands/inspect.ts';
import { addModels } from './commands/models.ts';
import { addSlice } from './commands/slice.ts';
import { addStatus } from './commands/status.ts';
import { addUp } from './commands/up.ts';
import { addVerify } from './commands/verify.ts';
import { createTerminal } from './terminal.ts';

const terminal = createTerminal(process.stdout, process.stderr);

function createProgram(): Command {
  const program = new Command('trireme')
    .description('Serves large mixture-of-experts language models from many workers.')
    .version(packageJson.version)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .showHelpAfterError('(add --help for what there is)');
  for (const add of [addUp, addSlice, addInspect, addVerify, addGenerate, addModels, addStatus]) add(program, terminal);
  return program;
}

/** Whoever reads our output may have seen enough: `trireme status | head -1`. */
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? 0 : errorCodes.IO_ERROR.exit),
);

try {
  await createProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed what is wrong. Its own status for that is 1; ours is the one for a bad argument.
    process.exitCode = error.exitCode === 0 ? 0 : errorCodes.INVALID_ARGUMENT.exit;
  } else {
    const known = TriremeError.from(error);
    terminal.note(known.toLine());
    if (known.code === 'INTERNAL' && error instanceof Error && error.stack) terminal.note(error.stack);
    process.exitCode = errorCodes[known.code].exit;
  }
}
