/**
 * Finds stop strings in a text that comes in pieces, by the automaton of Aho and Corasick ("Efficient string matching",
 * 1975) over UTF-16 code units. The result does not depend on where the pieces are cut: the match that ends first wins, of
 * those the longest; text that may be the beginning of a match is held back.
 */

export interface StopOutcome {
  /** Text that is safe to show; after a match, what came before it. */
  readonly text: string;
  /** True once; afterwards nothing more may be pushed. */
  readonly matched: boolean;
}

interface Node {
  readonly next: Map<number, Node>;
  /** Length of the string that leads here. */
  readonly depth: number;
  /** Node of the longest proper suffix that is the beginning of some stop string. */
  fail: Node;
  /** Length of the longest stop string that ends here; 0: none does. */
  matchLength: number;
}

/** The automaton; shared by the choices of a request. stops: none of them empty. */
export class StopStrings {
  readonly root: Node;

  constructor(stops: readonly string[]) {
    this.root = newNode(0);
    this.root.fail = this.root;
    for (const stop of stops) this.#add(stop);
    this.#link();
  }

  #add(stop: string): void {
    let node = this.root;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      let child = node.next.get(unit);
      if (!child) {
        child = newNode(node.depth + 1);
        node.next.set(unit, child);
      }
      node = child;
    }
    node.matchLength = node.depth;
  }

  /** Breadth first, so that the node of a shorter string is done when a longer one needs it. */
  #link(): void {
    const queue = [this.root];
    for (const node of queue) {
      for (const [unit, child] of node.next) {
        child.fail = node === this.root ? this.root : follow(node.fail, unit);
        if (child.matchLength === 0) child.matchLength = child.fail.matchLength;
        queue.push(child);
      }
    }
  }
}

export class StopMatcher {
  #node: Node;
  /** Always as long as the node is deep. */
  #held = '';

  constructor(strings: StopStrings) {
    this.#node = strings.root;
  }

  push(piece: string): StopOutcome {
    const text = this.#held + piece;
    for (let i = this.#held.length; i < text.length; i++) {
      this.#node = follow(this.#node, text.charCodeAt(i));
      if (this.#node.matchLength === 0) continue;
      this.#held = '';
      return { text: text.slice(0, i + 1 - this.#node.matchLength), matched: true };
    }
    const safe = text.length - this.#node.depth;
    this.#held = text.slice(safe);
    return { text: text.slice(0, safe), matched: false };
  }

  /** What is held, when the text ends without a match. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

function newNode(depth: number): Node {
  const node = { next: new Map<number, Node>(), depth, matchLength: 0 } as Node;
  node.fail = node;
  return node;
}

function follow(from: Node, unit: number): Node {
  let node = from;
  for (;;) {
    const child = node.next.get(unit);
    if (child) return child;
    if (node.depth === 0) return node;
    node = node.fail;
  }
}
