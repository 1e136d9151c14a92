/** Accuracy as a table in Markdown: a line for each package, rows in float32 and in int8 side by side. */
import type { AccuracyRow } from './measure-accuracy.ts';

const levels = ['fp32', 'int8'] as const;

const heads = [
  'checkpoint',
  'package',
  ...['perplexity', 'KL', 'golden KL'].flatMap((figure) => [`${figure}, level 1`, 'level 4']),
];

export function headOfTable(): readonly string[] {
  return [asLine(heads), asLine(heads.map(() => '---'))];
}

/** Of one checkpoint. */
export function linesOf(rows: readonly AccuracyRow[]): readonly string[] {
  const packages = Map.groupBy(rows, ({ weights }) => weights);
  return [...packages].map(([weights, measured]) => {
    const byLevel = levels.map((level) => measured.find(({ activations }) => activations === level));
    const cells = (text: (row: AccuracyRow) => string | undefined): string[] =>
      byLevel.map((row) => (row && text(row)) ?? '');
    return asLine([
      rows[0]!.subject,
      weights === 'native' ? 'kept' : weights,
      ...cells(({ perplexity }) => perplexity?.toFixed(3)),
      ...cells(({ divergence }) => divergence?.toExponential(1)),
      ...cells(({ expectedDivergence }) => expectedDivergence?.toExponential(1)),
    ]);
  });
}

function asLine(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
