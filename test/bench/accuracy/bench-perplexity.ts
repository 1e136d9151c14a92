/** What rounding weights and rows costs in quality: perplexity, and divergence from the same checkpoint in float32. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { headOfTable, linesOf } from './accuracy-table.ts';
import { type AccuracyRow, measureAccuracy, ranks } from './measure-accuracy.ts';
import { subjectsOf } from './subjects.ts';

/** The same on every run, so one is enough. */
export async function benchPerplexity(): Promise<object> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'trireme-accuracy-'));
  const all: AccuracyRow[] = [];
  try {
    for (const line of headOfTable()) console.log(line);
    for await (const subject of subjectsOf(scratch)) {
      const rows: AccuracyRow[] = [];
      for await (const row of measureAccuracy(subject, scratch)) rows.push(row);
      for (const line of linesOf(rows)) console.log(line);
      all.push(...rows);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { ranks, rows: all };
}
