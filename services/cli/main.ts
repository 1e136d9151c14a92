/** The command line. Each command is a file; here is only the program. */
import { Command, CommanderError } from 'commander';
import { errorCodes } from '#platform/errors.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { addDrain } from './commands/drain.ts';
import { addEmbed } from './commands/embed.ts';
import { addGenerate } from './commands/generate.ts';
import { addInspect } from './commands/inspect.ts';
import { addModels } from './commands/models.ts';
import { addPull } from './commands/pull.ts';
import { addSlice } from './commands/slice.ts';
import { addStatus } from './commands/status.ts';
import { addUp } from './commands/up.ts';
import { addVerify } from './commands/verify.ts';
import { reportError } from './report-error.ts';
import { createTerminal } from './terminal.ts';

const terminal = createTerminal(process.stdout, process.stderr);

function createProgram(): Command {
  const program = new Command('trireme')
    .description('Serves large mixture-of-experts language models from many workers.')
    .version(packageJson.version)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .configureOutput({ outputError: () => {} }); // It is thrown as well, and reported below.
  for (const add of [
    addUp,
    addPull,
    addSlice,
    addInspect,
    addVerify,
    addGenerate,
    addEmbed,
    addModels,
    addStatus,
    addDrain,
  ])
    add(program, terminal);
  return program;
}

/** Whoever reads our output may have seen enough: `trireme status | head -1`. */
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? 0 : errorCodes.IO_ERROR.exit),
);

try {
  await createProgram().parseAsync();
} catch (error) {
  const isHelp = error instanceof CommanderError && (error.exitCode === 0 || error.code === 'commander.help');
  if (isHelp) process.exitCode = error.exitCode === 0 ? 0 : errorCodes.INVALID_ARGUMENT.exit;
  else process.exitCode = reportError(error, terminal, process.argv.includes('--json'));
}
