import { describe, expect, it } from 'vitest';
import type { Outline } from '../bindings';
import { seenParts, shareOf, stripMarks } from './strip';

const page = (start: number, end: number) => ({ label: '', width: 100, height: 100, span: { start, end } });
const text: Outline = { sections: [], pages: [], blocks: 1, bytes: 1000, notices: [] };
const pdf: Outline = { ...text, pages: [page(0, 10), page(12, 900), page(900, 900), page(902, 1000)] };

describe('the strip', () => {
  it('places words by text, and by pages in a PDF, however little stands on one', () => {
    expect(shareOf(250, text)).toBe(0.25);
    expect(shareOf(5, pdf)).toBe(0.125);
    expect(shareOf(456, pdf)).toBe(0.375);
    expect(shareOf(951, pdf)).toBe(0.875);
    expect(shareOf(5000, text)).toBe(1);
  });

  it('draws places that cannot be told apart once', () => {
    const spans = [900, 100, 101, 500].map((start) => ({ start, end: start + 5 }));
    expect(stripMarks('found', spans, text).map(({ index }) => index)).toEqual([1, 3, 0]);
  });

  it('shows what an answer saw only where it did not see all', () => {
    expect(seenParts([{ start: 0, end: 1000 }], text)).toEqual([]);
    expect(seenParts([{ start: 100, end: 200 }], text)).toEqual([{ from: 0.1, to: 0.2 }]);
  });
});
