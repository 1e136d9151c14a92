/** What the commands print: results on stdout, everything else on stderr; tables for people, one JSON value for machines. */
import { styleText } from 'node:util';
import cliProgress from 'cli-progress';
import Table from 'cli-table3';

export interface Terminal {
  /** A line of the result. */
  line(text: string): void;
  /** Part of a line of the result: streamed text. */
  write(text: string): void;
  json(value: unknown): void;
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  /** Streamed text that is not part of the result: on stderr, dimmed where that is a terminal. */
  aside(text: string): void;
  /** What goes on while the reader waits; never part of the result. */
  note(text: string): void;
  /** A bar on stderr; nothing is drawn when that is no terminal. */
  progress(): ProgressBar;
}

export interface ProgressBar {
  update(stage: string, done: number, total: number): void;
  end(): void;
}

const plainBorders = {
  mid: '',
  'left-mid': '',
  'mid-mid': '',
  'right-mid': '',
  top: '',
  'top-mid': '',
  'top-left': '',
};
const noBorders = {
  ...plainBorders,
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
};

export function createTerminal(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Terminal {
  return {
    line: (text) => void stdout.write(`${text}\n`),
    write: (text) => void stdout.write(text),
    json: (value) => void stdout.write(`${JSON.stringify(value)}\n`),
    table: (head, rows) => {
      const table = new Table({
        head: [...head],
        chars: { ...noBorders, left: '', right: '', middle: '  ' },
        style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
      });
      table.push(...rows.map((row) => [...row]));
      stdout.write(`${table.toString()}\n`);
    },
    aside: (text) => void stderr.write(styleText('dim', text, { stream: stderr })),
    note: (text) => void stderr.write(`${text}\n`),
    progress: () => createBar(stderr),
  };
}

function createBar(stream: NodeJS.WriteStream): ProgressBar {
  const bar = new cliProgress.SingleBar(
    { format: '{stage} [{bar}] {percentage}%', stream, clearOnComplete: true, hideCursor: true },
    cliProgress.Presets.rect,
  );
  let started = false;
  return {
    update: (stage, done, total) => {
      if (!started) bar.start(total, done, { stage });
      else {
        bar.setTotal(total);
        bar.update(done, { stage });
      }
      started = true;
    },
    end: () => {
      if (started) bar.stop();
    },
  };
}
