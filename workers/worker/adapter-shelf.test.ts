import { expect, test } from 'vitest';
import { AdapterShelf } from './adapter-shelf.ts';

interface Loading {
  readonly place: number;
  readonly name: string;
  readonly done: PromiseWithResolvers<void>;
}

function shelfOf(places: number) {
  const loadings: Loading[] = [];
  const shelf = new AdapterShelf(places, (place, name) => {
    const done = Promise.withResolvers<void>();
    loadings.push({ place, name, done });
    return done.promise;
  });
  const acquire = async (name: string): Promise<number> => {
    const before = loadings.length;
    const place = shelf.acquire(name);
    for (const { done } of loadings.slice(before)) done.resolve();
    return place;
  };
  return { shelf, loadings, acquire };
}

test('an adapter is loaded once for all who name it, and everybody waits until it is there', async () => {
  const { shelf, loadings } = shelfOf(2);
  const [first, second] = [shelf.acquire('a'), shelf.acquire('a')];
  let isThere = false;
  void first.then(() => {
    isThere = true;
  });
  await Promise.resolve();
  expect([isThere, loadings.length]).toEqual([false, 1]);
  loadings[0]!.done.resolve();
  expect(await Promise.all([first, second])).toEqual([0, 0]);
});

test('a full shelf gives up what was used least recently, and never what is in use', async () => {
  const { shelf, loadings, acquire } = shelfOf(2);
  expect([await acquire('a'), await acquire('b')]).toEqual([0, 1]);
  await expect(shelf.acquire('c')).rejects.toMatchObject({ code: 'NO_ROOM' });
  shelf.release('a');
  shelf.release('b');
  await acquire('a');
  shelf.release('a');
  expect(await acquire('c')).toBe(1);
  expect(shelf.names).toEqual(['a', 'c']);
  await acquire('b');
  expect(loadings.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'b']);
});

test('an adapter that could not be loaded leaves its place, and is tried again', async () => {
  const { shelf, loadings, acquire } = shelfOf(1);
  const both = [shelf.acquire('a'), shelf.acquire('a')];
  loadings[0]!.done.reject(new Error('no such folder'));
  for (const one of both) await expect(one).rejects.toThrow('no such folder');
  expect(shelf.names).toEqual([]);
  expect(await acquire('b')).toBe(0);
});
