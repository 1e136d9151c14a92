/** Structured logs: one JSON object a line on stderr. The only importer of pino. */
import { destination, type Logger as PinoLogger, pino } from 'pino';

export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  /** A logger whose lines carry the component's name. */
  component(name: string): Logger;
};

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Writes synchronously, so that the last line before an exit is never lost. */
export function createLogger(level: LogLevel = 'info', fileDescriptor = 2): Logger {
  return wrap(pino({ level, base: null }, destination({ dest: fileDescriptor, sync: true })));
}

function wrap(logger: PinoLogger): Logger {
  return Object.assign(logger, { component: (name: string) => wrap(logger.child({ component: name })) });
}
