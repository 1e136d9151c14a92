/** Finds the best of many scores without sorting them. */

/** Sets mask to 0 at the `count` best scores, all of them when there are no more; of equal scores the first win. */
export function markBest(scores: Float32Array, count: number, mask: Float32Array): void {
  if (scores.length <= count) {
    mask.fill(0, 0, scores.length);
    return;
  }
  const least = largestAt(scores.slice(), count - 1);
  let left = count;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i]! <= least) continue;
    mask[i] = 0;
    left--;
  }
  for (let i = 0; left > 0; i++) {
    if (scores[i] !== least) continue;
    mask[i] = 0;
    left--;
  }
}

/** The value at `index` in falling order (quickselect, Hoare 1961). Reorders `values`. */
function largestAt(values: Float32Array, index: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const pivot = middleOf(values[low]!, values[(low + high) >> 1]!, values[high]!);
    let [left, right] = [low, high];
    while (left <= right) {
      while (values[left]! > pivot) left++;
      while (values[right]! < pivot) right--;
      if (left > right) break;
      const held = values[left]!;
      values[left++] = values[right]!;
      values[right--] = held;
    }
    if (index <= right) high = right;
    else if (index >= left) low = left;
    else return pivot;
  }
  return values[low]!;
}

function middleOf(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
