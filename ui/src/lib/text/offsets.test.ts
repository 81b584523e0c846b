import { describe, expect, it } from 'vitest';
import { ByteCursor, byteOffset, sliceBytes, utf8Length } from './offsets';

/** One, two, three and four bytes a character; a flag is two characters of four bytes, and a joined family seven. */
const TEXTS = [
  'plain ASCII',
  'naïve café',
  '福尔摩斯住在贝克街',
  'a📚b🇨🇭c',
  '👩‍👩‍👧 reads',
  'mixed: é 語 😀 end',
  '',
];

describe('offsets', () => {
  it.each(TEXTS)('agree with the encoder at every character of %j', (text) => {
    const encoder = new TextEncoder();
    expect(utf8Length(text)).toBe(encoder.encode(text).length);
    const cursor = new ByteCursor(text);
    let index = 0;
    for (const character of text) {
      const bytes = encoder.encode(text.slice(0, index)).length;
      expect(byteOffset(text, index)).toBe(bytes);
      expect(cursor.index(bytes)).toBe(index);
      index += character.length;
    }
    expect(cursor.index(utf8Length(text))).toBe(text.length);
  });

  it('slice what the engine means', () => {
    const text = 'Holmes 📚 lives at 贝克街 221B.';
    const bytes = new TextEncoder().encode(text);
    for (const words of ['📚', '贝克街', '街 221B', 'lives']) {
      const start = byteOffset(text, text.indexOf(words));
      const end = start + utf8Length(words);
      expect(sliceBytes(text, start, end)).toBe(words);
      expect(new TextDecoder().decode(bytes.slice(start, end))).toBe(words);
      expect(sliceBytes(text, 1000 + start, 1000 + end, 1000)).toBe(words);
    }
  });

  it('never cut a character in two, and stay inside the text', () => {
    const cursor = new ByteCursor('a📚b');
    expect([0, 1, 2, 3, 4, 5, 6, 99].map((offset) => cursor.index(offset))).toEqual([0, 1, 1, 1, 1, 3, 4, 4]);
  });

  it('may be asked backwards', () => {
    const cursor = new ByteCursor('語'.repeat(50));
    expect(cursor.index(150)).toBe(50);
    expect(cursor.index(30)).toBe(10);
  });
});
