/** Where evidence stands, in words: "p. 213", "Chapter 2", "src/main.rs › fn main, lines 3–9". */
import type { AnchorView } from '../bindings';

export function placeOf(anchor: AnchorView): string {
  switch (anchor.kind) {
    case 'pages': {
      const first = anchor.pages[0];
      const last = anchor.pages.at(-1);
      if (!first || !last) return '';
      return first === last ? `p. ${first.label}` : `pp. ${first.label}–${last.label}`;
    }
    case 'element':
      return anchor.section || anchor.item;
    case 'lines': {
      const { file, symbol, first_line, last_line } = anchor;
      const lines = first_line === last_line ? `line ${first_line}` : `lines ${first_line}–${last_line}`;
      return symbol ? `${file} › ${symbol}, ${lines}` : `${file}, ${lines}`;
    }
    case 'flow':
      return anchor.section || `line ${anchor.line}`;
  }
}

/** The block in which evidence begins; null in a PDF, where pages count. */
export function blockOf(anchor: AnchorView): number | null {
  return anchor.kind === 'pages' ? null : anchor.block;
}
