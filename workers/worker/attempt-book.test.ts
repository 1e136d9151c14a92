import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { FinishReason } from '#proto/inference.ts';
import { FrameEntry, Submit } from '#proto/worker.ts';
import { AttemptBook } from './attempt-book.ts';
import { defaultLimits } from './limits.ts';

const open = (book: AttemptBook, requestId: string, n = 1, emitted: number[][] = []) =>
  book.open(Submit.fromPartial({ requestId, attempt: 1, n, emitted: emitted.map((ids) => ({ ids })) }));

const entry = (requestId: string, choice: number, firstPosition: number, tokenIds: number[], ends = false) =>
  FrameEntry.fromPartial({
    requestId,
    attempt: 1,
    choice,
    firstPosition,
    tokenIds,
    ...(ends ? { finishReason: FinishReason.FINISH_REASON_STOP } : {}),
  });

test('an attempt ends with the last of its choices and stays until it is acknowledged', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'a', 2);
  const ends = [entry('a', 1, 0, [7], true), entry('a', 0, 0, [8]), entry('a', 0, 1, [], true)];
  expect(ends.map((each) => book.take(each))).toEqual(['taken', 'taken', 'ended']);
  expect([book.runningCount, book.endedCount, book.has('a', 1)]).toEqual([0, 1, true]);
  book.acknowledge('a', 1);
  expect([book.endedCount, book.has('a', 1)]).toEqual([0, false]);
});

test('a position that does not follow on the one before breaks an invariant', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'a', 2, [[], [5, 6]]);
  book.take(entry('a', 0, 0, [1, 2]));
  book.take(entry('a', 1, 2, [3]));
  expect(() => book.take(entry('a', 0, 3, [3]))).toThrow('position 3 instead of 2');
  expect(() => book.take(entry('a', 1, 2, [3]))).toThrow('position 2 instead of 3');
});

test('nothing waits for a cancelled choice, and the last one cancelled ends the attempt', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'a', 2);
  expect(book.cancel('a', 1, [1])).toBe(true);
  expect(book.cancel('a', 1, [1])).toBe(false);
  expect(book.take(entry('a', 1, 0, [9]))).toBe('unknown');
  expect(book.cancel('a', 1, [0])).toBe(true);
  expect([book.runningCount, book.endedCount]).toEqual([0, 1]);
});

test('a cancelled attempt is forgotten at once', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'a', 2);
  expect(book.cancel('a', 1, [])).toBe(true);
  expect(book.cancel('a', 1, [])).toBe(false);
  expect([book.runningCount, book.endedCount, book.has('a', 1)]).toEqual([0, 0, false]);
});

test('of more ended attempts than may wait, and of more tokens, the oldest are forgotten', () => {
  const book = new AttemptBook({ ...defaultLimits, endedAttemptsMax: 2, endedTokensMax: 5 });
  const end = (requestId: string, tokens: number) => {
    open(book, requestId);
    book.take(entry(requestId, 0, 0, Array(tokens).fill(1), true));
  };
  for (const requestId of ['a', 'b', 'c']) end(requestId, 1);
  expect(['a', 'b', 'c'].map((requestId) => book.has(requestId, 1))).toEqual([false, true, true]);
  end('d', 4);
  expect(['b', 'c', 'd'].map((requestId) => book.has(requestId, 1))).toEqual([false, true, true]);
  book.acknowledge('c', 1);
  end('e', 2);
  expect(['d', 'e'].map((requestId) => book.has(requestId, 1))).toEqual([false, true]);
});

test('failing all gives every running choice one last entry that names the position it would have gone on at', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'a', 2, [[1, 2], []]);
  open(book, 'b');
  book.take(entry('a', 0, 2, [3]));
  book.take(entry('b', 0, 0, [3], true));
  const entries = book.failAll(new TriremeError('RANK_FAILED', 'rank 1 exited'));
  expect(entries.map(({ requestId, choice, firstPosition }) => [requestId, choice, firstPosition])).toEqual([
    ['a', 0, 3],
    ['a', 1, 0],
  ]);
  expect(entries[0]).toMatchObject({ errorCode: 'RANK_FAILED', errorMessage: 'rank 1 exited', tokenIds: [] });
  expect(book.runningCount).toBe(0);
});

test('a repetition has all that is kept from where the router stands, ends included, and names what is unknown', () => {
  const book = new AttemptBook(defaultLimits);
  open(book, 'ended');
  open(book, 'running', 3, [[1, 2], [], [9]]);
  open(book, 'unnamed');
  const logprobs = [-1, -2].map((logprob) => ({ logprob, top: [] }));
  book.take({ ...entry('ended', 0, 0, [4, 5], true), logprobs });
  book.take(entry('running', 0, 2, [3, 4]));
  book.take(entry('running', 1, 0, [7]));
  book.take(entry('unnamed', 0, 0, [8]));
  const from = (requestId: string, ...positions: number[]) => ({ requestId, attempt: 1, from: positions });
  const repeated = book.repeat([from('ended', 1), from('running', 3, 1, 1), from('gone', 5)]);
  expect(repeated).toMatchObject([
    { requestId: 'ended', firstPosition: 1, tokenIds: [5], logprobs: [{ logprob: -2 }], finishReason: 1 },
    { requestId: 'running', choice: 0, firstPosition: 3, tokenIds: [4] },
    { requestId: 'unnamed', firstPosition: 0, tokenIds: [8] },
    { requestId: 'gone', errorCode: 'STALE_EPOCH' },
  ]);
  expect(repeated[1]?.finishReason).toBeUndefined();
  expect(book.repeat([from('ended', 2), from('running', 4, 1, 1), from('unnamed', 1)])).toMatchObject([
    { requestId: 'ended', firstPosition: 2, tokenIds: [], finishReason: 1 },
  ]);
});

test('choices that ended in an earlier attempt do not run', () => {
  const book = new AttemptBook(defaultLimits);
  book.open(
    Submit.fromPartial({ requestId: 'a', attempt: 1, n: 2, emitted: [{ ids: [1], finished: true }, { ids: [2] }] }),
  );
  expect(book.take(entry('a', 0, 1, [3]))).toBe('unknown');
  expect(book.take(entry('a', 1, 1, [3], true))).toBe('ended');
});
