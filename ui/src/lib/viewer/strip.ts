/** Where in a document things stand, as shares of its length from 0 to 1. */
import type { Outline, TextSpan } from '../bindings';

/** A mark on the strip beside the scroll bar. */
export interface StripMark {
  kind: 'evidence' | 'found';
  /** Its place among the evidence, or among the places found. */
  index: number;
  share: number;
}

/** Marks closer than this are drawn as one. */
const CLOSEST = 1 / 400;

/** Where a byte stands: by pages in a PDF, which are scrolled by pages, else by text. */
export function shareOf(byte: number, { pages, bytes }: Pick<Outline, 'pages' | 'bytes'>): number {
  if (pages.length === 0) return Math.min(1, byte / Math.max(1, bytes));
  let [low, high] = [0, pages.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pages[middle]!.span.start <= byte) low = middle;
    else high = middle - 1;
  }
  const { start, end } = pages[low]!.span;
  const within = Math.min(1, Math.max(0, byte - start) / Math.max(1, end - start));
  return (low + within) / pages.length;
}

/** The marks to draw: one for each place that can be told from the one before. */
export function stripMarks(kind: StripMark['kind'], spans: readonly TextSpan[], outline: Outline): StripMark[] {
  const marks = spans
    .map(({ start }, index) => ({ kind, index, share: shareOf(start, outline) }))
    .sort((a, b) => a.share - b.share);
  let last = -1;
  return marks.filter(({ share }) => {
    if (share - last < CLOSEST) return false;
    last = share;
    return true;
  });
}

/** The parts of a document that an answer could see; none if that was all of it. */
export function seenParts(spans: readonly TextSpan[], outline: Outline): { from: number; to: number }[] {
  const parts = spans.map(({ start, end }) => ({ from: shareOf(start, outline), to: shareOf(end, outline) }));
  const whole = parts.length === 1 && parts[0]!.from < 0.001 && parts[0]!.to > 0.999;
  return whole ? [] : parts;
}
