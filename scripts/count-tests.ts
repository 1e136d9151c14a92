/** Adds up vitest's JSON reports in a folder into one closing line. Exit status 1 when a report is missing or nothing ran. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
}

const folder = process.argv[2] ?? '.';
const reports = readdirSync(folder).map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Report);
const passed = reports.reduce((sum, report) => sum + report.numPassedTests, 0);
// A file that could not even be loaded fails as a suite without a failed test.
const failed = reports.reduce((sum, report) => sum + Math.max(report.numFailedTests, report.numFailedTestSuites), 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = reports.length < 3 || passed === 0 || failed > 0 ? 1 : 0;
