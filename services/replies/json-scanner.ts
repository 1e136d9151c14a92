/**
 * Recognises one JSON value (RFC 8259) in text that comes in pieces: says how much of the text belongs to it and when it is
 * whole. Control characters inside strings, which models write although JSON forbids them, are passed on as escapes.
 */

/** Deeper values count as broken. */
export const maxJsonDepth = 256;

const escapable = new Set('"\\/bfnrtu');
const numberPattern = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const words = ['true', 'false', 'null'];

/** What may come next, outside of strings, numbers and words. */
type Expected = 'value' | 'value or ]' | 'key or }' | 'key' | 'colon' | 'comma or end';

export class JsonScanner {
  /** open: more has to come. broken: it is no JSON. */
  state: 'open' | 'done' | 'broken' = 'open';
  /** What was scanned last, ready to be parsed. */
  output = '';
  #expected: Expected = 'value';
  /** A string, a number or a word that is under way. */
  #token: 'string' | 'escape' | 'number' | 'word' | undefined;
  #tokenText = '';
  /** Hexadecimal digits of \u that are still to come. */
  #digitsLeft = 0;
  #isKey = false;
  readonly #closers: ('}' | ']')[] = [];

  /** Length of what belongs to the value. Stops where it is done or broken. */
  scan(text: string): number {
    this.output = '';
    let from = 0;
    let at = 0;
    for (; at < text.length && this.state === 'open'; at++) {
      const character = text[at]!;
      if (!this.#step(character)) break;
      if (this.#token === 'string' && character < ' ') {
        this.output += text.slice(from, at) + JSON.stringify(character).slice(1, -1);
        from = at + 1;
      }
    }
    this.output += text.slice(from, at);
    return at;
  }

  /** No more comes: a number ends here, anything else that is open stays open. */
  end(): void {
    if (this.state === 'open' && this.#token === 'number') this.#endNumber();
  }

  /** False: the character does not belong to the value; state says why. */
  #step(character: string): boolean {
    switch (this.#token) {
      case 'string':
        if (character === '"') this.#endString();
        else if (character === '\\') this.#token = 'escape';
        return true;
      case 'escape':
        return this.#stepEscape(character);
      case 'number':
        if (/[\d.eE+-]/.test(character)) {
          this.#tokenText += character;
          return true;
        }
        this.#endNumber();
        return this.state === 'open' && this.#step(character);
      case 'word':
        return this.#stepWord(character);
      default:
        return this.#stepStructure(character);
    }
  }

  #stepStructure(character: string): boolean {
    if (' \t\n\r'.includes(character)) return true;
    const expected = this.#expected;
    if (character === this.#closers.at(-1) && (expected === 'comma or end' || expected.endsWith(character))) {
      this.#closers.pop();
      return this.#endValue();
    }
    switch (expected) {
      case 'comma or end':
        if (character !== ',') return this.#break();
        this.#expected = this.#closers.at(-1) === '}' ? 'key' : 'value';
        return true;
      case 'colon':
        if (character !== ':') return this.#break();
        this.#expected = 'value';
        return true;
      case 'key':
      case 'key or }':
        return character === '"' ? this.#beginString(true) : this.#break();
      case 'value':
      case 'value or ]':
        return this.#beginValue(character);
    }
  }

  #beginValue(character: string): boolean {
    if (character === '"') return this.#beginString(false);
    if (character === '{' || character === '[') {
      if (this.#closers.length === maxJsonDepth) return this.#break();
      this.#closers.push(character === '{' ? '}' : ']');
      this.#expected = character === '{' ? 'key or }' : 'value or ]';
      return true;
    }
    if (/[-\d]/.test(character)) this.#token = 'number';
    else if (words.some((word) => word.startsWith(character))) this.#token = 'word';
    else return this.#break();
    this.#tokenText = character;
    return true;
  }

  #beginString(isKey: boolean): boolean {
    this.#token = 'string';
    this.#isKey = isKey;
    return true;
  }

  #stepEscape(character: string): boolean {
    if (this.#digitsLeft > 0) {
      if (!/[\da-fA-F]/.test(character)) return this.#break();
      this.#digitsLeft--;
    } else {
      if (!escapable.has(character)) return this.#break();
      if (character === 'u') this.#digitsLeft = 4;
    }
    if (this.#digitsLeft === 0) this.#token = 'string';
    return true;
  }

  #stepWord(character: string): boolean {
    this.#tokenText += character;
    const word = words.find((candidate) => candidate.startsWith(this.#tokenText));
    if (word === undefined) return this.#break();
    return word === this.#tokenText ? this.#endValue() : true;
  }

  #endString(): void {
    if (!this.#isKey) {
      this.#endValue();
      return;
    }
    this.#token = undefined;
    this.#expected = 'colon';
  }

  #endNumber(): void {
    if (numberPattern.test(this.#tokenText)) this.#endValue();
    else this.#break();
  }

  #endValue(): true {
    this.#token = undefined;
    this.#expected = 'comma or end';
    if (this.#closers.length === 0) this.state = 'done';
    return true;
  }

  #break(): false {
    this.state = 'broken';
    return false;
  }
}
