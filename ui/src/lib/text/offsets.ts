/**
 * The engine counts bytes of UTF-8, JavaScript counts UTF-16 units. This is the one place where the two meet.
 */

const encoder = new TextEncoder();

export function utf8Length(text: string): number {
  // ASCII is the common case and needs no copy.
  // eslint-disable-next-line no-control-regex
  return /^[\x00-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length;
}

/**
 * Turns byte offsets of one text into string indices. Offsets must not decrease from call to call, so that a text
 * with many marks is walked once. An offset inside a character is moved to the character's start, one beyond the
 * text to its end.
 */
export class ByteCursor {
  #bytes = 0;
  #index = 0;

  /** `base`: the offset in the document at which `text` begins. */
  constructor(
    readonly text: string,
    readonly base = 0,
  ) {}

  index(offset: number): number {
    const wanted = offset - this.base;
    if (wanted < this.#bytes) {
      this.#bytes = 0;
      this.#index = 0;
    }
    while (this.#index < this.text.length) {
      const code = this.text.codePointAt(this.#index)!;
      const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      if (this.#bytes + width > wanted) break;
      this.#bytes += width;
      this.#index += code > 0xffff ? 2 : 1;
    }
    return this.#index;
  }
}

/** The part of `text` between two byte offsets, where `text` begins at byte `base`. */
export function sliceBytes(text: string, start: number, end: number, base = 0): string {
  const cursor = new ByteCursor(text, base);
  const from = cursor.index(start);
  return text.slice(from, cursor.index(end));
}

/** The byte offset of a string index, where `text` begins at byte `base`. */
export function byteOffset(text: string, index: number, base = 0): number {
  return base + utf8Length(text.slice(0, index));
}
