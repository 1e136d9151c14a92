import { expect, test } from 'vitest';
import { TriremeError } from './errors.ts';

test('an error is one line: code, message, remedy, whatever line breaks they hold', () => {
  const error = new TriremeError('NO_ROOM', 'the queue\n  is full', { remedy: 'try again\nlater' });
  expect(error.toLine()).toBe('NO_ROOM: the queue is full. try again later');
  expect(new TriremeError('INTERNAL', 'x').toLine()).toBe('INTERNAL: x');
});

test('what nobody classified becomes INTERNAL with its cause, what is classified stays itself', () => {
  const cause = new RangeError('7');
  expect(TriremeError.from(cause)).toMatchObject({ code: 'INTERNAL', message: '7', cause });
  expect(TriremeError.from('text')).toMatchObject({ code: 'INTERNAL', message: 'text' });
  const known = new TriremeError('NO_ROOM', 'full');
  expect(TriremeError.from(known)).toBe(known);
});
