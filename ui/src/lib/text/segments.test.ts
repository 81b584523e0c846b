import { describe, expect, it } from 'vitest';
import { byteOffset, utf8Length } from './offsets';
import { segments, type Highlight } from './segments';

const BASE = 100;
const TEXT = 'Das Mädchen las 三本の本 📚 gern.';
const block = { text: TEXT, span: { start: BASE, end: BASE + utf8Length(TEXT) }, marks: [] };

function range(words: string): { start: number; end: number } {
  const start = byteOffset(TEXT, TEXT.indexOf(words), BASE);
  return { start, end: start + utf8Length(words) };
}

describe('segments', () => {
  it('are the whole text in order, highlighted or not', () => {
    const highlights: Highlight[] = [{ ...range('三本の本 📚'), kind: 'evidence' }];
    const pieces = segments(block, highlights);
    expect(pieces.map((piece) => piece.text)).toEqual(['Das Mädchen las ', '三本の本 📚', ' gern.']);
    expect(pieces.map((piece) => piece.highlight)).toEqual([null, 'evidence', null]);
    expect(pieces[1]?.start).toBe(range('三本の本 📚').start);
  });

  it('keep emphasis and highlights apart where they overlap', () => {
    const marks = [{ style: 'emphasis' as const, span: range('Mädchen las') }];
    const pieces = segments({ ...block, marks }, [{ ...range('las 三'), kind: 'current' }]);
    expect(pieces.map((piece) => [piece.text, piece.styles.length, piece.highlight])).toEqual([
      ['Das ', 0, null],
      ['Mädchen ', 1, null],
      ['las', 1, 'current'],
      [' 三', 0, 'current'],
      ['本の本 📚 gern.', 0, null],
    ]);
  });

  it('let what is current win, and take only the part inside the block', () => {
    const pieces = segments(block, [
      { start: 0, end: range('las').end, kind: 'found' },
      { ...range('Mädchen'), kind: 'current' },
      { start: 5000, end: 6000, kind: 'evidence' },
    ]);
    expect(pieces.map((piece) => [piece.text, piece.highlight])).toEqual([
      ['Das ', 'found'],
      ['Mädchen', 'current'],
      [' las', 'found'],
      [' 三本の本 📚 gern.', null],
    ]);
  });
});
