/**
 * Cuts a block's text where emphasis or a highlight begins or ends, so that a component only has to draw the pieces
 * in order. Everything goes in by byte ranges of the document and comes out as strings.
 */
import type { ContentBlock, MarkStyle, TextSpan } from '../bindings';
import { ByteCursor } from './offsets';

export type HighlightKind = 'evidence' | 'found' | 'current';

/** A range to highlight; later kinds win where ranges overlap: evidence, found, current. */
export interface Highlight extends TextSpan {
  kind: HighlightKind;
}

export interface Segment {
  text: string;
  /** First byte in the document. */
  start: number;
  styles: MarkStyle[];
  highlight: HighlightKind | null;
}

const RANK: Record<HighlightKind, number> = { evidence: 0, found: 1, current: 2 };

export function segments(
  block: Pick<ContentBlock, 'text' | 'span' | 'marks'>,
  highlights: readonly Highlight[],
): Segment[] {
  const { start, end } = block.span;
  const touching = highlights.filter((highlight) => highlight.start < end && highlight.end > start);
  const cuts = new Set([start, end]);
  for (const range of [...touching, ...block.marks.map((mark) => mark.span)]) {
    if (range.start > start && range.start < end) cuts.add(range.start);
    if (range.end > start && range.end < end) cuts.add(range.end);
  }
  const edges = [...cuts].sort((a, b) => a - b);
  const cursor = new ByteCursor(block.text, start);
  const pieces: Segment[] = [];
  let from = 0;
  for (let edge = 1; edge < edges.length; edge += 1) {
    const [left, right] = [edges[edge - 1]!, edges[edge]!];
    const to = edge === edges.length - 1 ? block.text.length : cursor.index(right);
    const text = block.text.slice(from, to);
    from = to;
    if (text === '') continue;
    const covers = (range: TextSpan) => range.start <= left && range.end >= right;
    const kinds = touching.filter(covers).map((highlight) => highlight.kind);
    pieces.push({
      text,
      start: left,
      styles: block.marks.filter((mark) => covers(mark.span)).map((mark) => mark.style),
      highlight: kinds.sort((a, b) => RANK[b] - RANK[a])[0] ?? null,
    });
  }
  return pieces;
}
