/**
 * How this process holds the memory that native code allocates, by calls to the C library. Nothing here changes what is
 * computed: where a call is missing or refused, memory stays as the system gives it.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import koffi from 'koffi';

/** mallopt's M_MMAP_THRESHOLD (malloc.h). */
const mmapThreshold = -3;
const ownMappingBytes = 4 << 20;

/** madvise's MADV_COLLAPSE (Linux 6.1). */
const collapseNow = 25;
const pageBytes = 4096;
const hugeBytes = 2 << 20;
const pagesPerHuge = hugeBytes / pageBytes;
/** Holes are filled when a range moves; what is mostly holes would cost more memory than it is worth. */
const residentPagesMin = (pagesPerHuge * 7) / 8;
/** Collapsed between two turns of the event loop: some 10 ms. */
const collapsedPerTurn = 16;

type CFunction = (...values: (bigint | number)[]) => number;

/** undefined where the C library has no such function. */
function cFunction(name: string, parameters: readonly string[]): CFunction | undefined {
  try {
    return koffi.load(null).func(name, 'int', [...parameters]) as CFunction;
  } catch {
    return undefined;
  }
}

/**
 * Gives every large block of memory a mapping of its own, now and always. Left alone glibc stops doing that once such blocks
 * have been freed; then caches that nobody has touched count as used, and what was unloaded stays with the process. Smaller
 * blocks come from the heap: what passes between the nodes of a long prompt must not be mapped anew at every node.
 */
export function tuneAllocator(): void {
  cFunction('mallopt', ['int', 'int'])?.(mmapThreshold, ownMappingBytes);
}

/** Hands memory that native code has freed back to the system: glibc keeps it in the arenas of threads that are gone. */
export function returnFreedMemory(): void {
  cFunction('malloc_trim', ['size_t'])?.(0);
}

/**
 * Moves memory that is in use into huge pages. Weights are read once a step, in blocks smaller than a huge page, so the
 * system does not do it by itself, and looking up small pages then takes a seventh of a decode step. Returns the bytes that
 * lie in huge pages now: 0 on a system that has none. `signal` ends it early.
 */
export async function useHugePages(signal?: AbortSignal): Promise<number> {
  const madvise = cFunction('madvise', ['uintptr_t', 'size_t', 'int']);
  if (!madvise || process.platform !== 'linux') return 0;
  let collapsed = 0;
  for (const [i, address] of residentRanges().entries()) {
    if (i % collapsedPerTurn === 0) await setImmediate();
    if (signal?.aborted) break;
    if (madvise(address, hugeBytes, collapseNow) === 0) collapsed += hugeBytes;
  }
  return collapsed;
}

/** Addresses of aligned ranges of a huge page's size that are writable, anonymous and mostly resident. */
function residentRanges(): readonly number[] {
  const pagemap = openSync('/proc/self/pagemap', 'r');
  try {
    return anonymousMappings().flatMap(({ start, end }) => {
      const ranges: number[] = [];
      const first = Math.ceil(start / hugeBytes) * hugeBytes;
      for (let address = first; address + hugeBytes <= end; address += hugeBytes) {
        if (residentPages(pagemap, address) >= residentPagesMin) ranges.push(address);
      }
      return ranges;
    });
  } finally {
    closeSync(pagemap);
  }
}

/** Addresses fit a double: user space ends at 2^47. */
function anonymousMappings(): readonly { readonly start: number; readonly end: number }[] {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  // start-end permissions offset device inode [name]: without a file the inode is 0
  const matches = maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$/gm);
  return Array.from(matches, ([, start = '', end = '']) => ({
    start: Number.parseInt(start, 16),
    end: Number.parseInt(end, 16),
  }));
}

/** Low and high word of every page; as big integers they would be garbage by the million. */
const words = new Uint32Array(2 * pagesPerHuge);
const residentBit = 0x8000_0000;

/** Of the pages of one range, those that are in memory: pagemap has 64 bits for each (proc_pid_pagemap(5)). */
function residentPages(pagemap: number, address: number): number {
  const read = readSync(pagemap, words, 0, words.byteLength, (address / pageBytes) * 8);
  let resident = 0;
  for (let page = 0; page < read / 8; page++) if (words[2 * page + 1]! & residentBit) resident++;
  return resident;
}
