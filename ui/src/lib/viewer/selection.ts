/** What a person has selected in the viewer, and where it stands. */
import type { Outline } from '../bindings';

export interface Selected {
  words: string;
  /** The first and the last block, or page from 0, that it touches; null where neither is known. */
  within: { kind: 'block' | 'page'; first: number; last: number } | null;
  /** "p. 7", "Chapter 2", "src/main.rs, lines 3–9"; empty where nothing is known. */
  place: string;
  /** Of the selection, in the window. */
  box: { left: number; right: number; top: number; bottom: number };
}

/** The selection, if it lies in `view` and holds words. */
export function selectedIn(view: HTMLElement, outline: Outline): Selected | null {
  const selection = getSelection();
  if (!selection || selection.isCollapsed || selection.rangeCount === 0) return null;
  const range = selection.getRangeAt(0);
  if (!view.contains(range.commonAncestorContainer)) return null;
  const words = selection.toString().trim();
  if (words === '') return null;
  const { left, right, top, bottom } = range.getBoundingClientRect();
  return {
    words,
    within: withinOf(range),
    place: placeOfRange(range, outline),
    box: { left, right, top, bottom },
  };
}

function withinOf(range: Range): Selected['within'] {
  const ends = [holder(range.startContainer), holder(range.endContainer)] as const;
  const [page, lastPage] = ends.map((end) => end?.closest<HTMLElement>('[data-page]')?.dataset.page);
  if (page) return { kind: 'page', first: Number(page) - 1, last: Number(lastPage ?? page) - 1 };
  const [block, lastBlock] = ends.map((end) => end?.closest<HTMLElement>('[data-block]')?.dataset.block);
  return block ? { kind: 'block', first: Number(block), last: Number(lastBlock ?? block) } : null;
}

function placeOfRange(range: Range, outline: Outline): string {
  const [first, last] = [holder(range.startContainer), holder(range.endContainer)];
  const firstPage = pageOf(first, outline);
  if (firstPage) {
    const lastPage = pageOf(last, outline) ?? firstPage;
    return firstPage === lastPage ? `p. ${firstPage}` : `pp. ${firstPage}–${lastPage}`;
  }
  const block = Number(first?.closest<HTMLElement>('[data-block]')?.dataset.block ?? NaN);
  if (Number.isNaN(block)) return '';
  const [from, to] = [lineOf(first), lineOf(last)];
  // Lines are those of a file; what stands in it may begin further down in the same block.
  const section =
    outline.sections.findLast((other) => other.block <= block && (!from || other.depth === 0))?.title ?? '';
  if (!from) return section;
  return !to || from === to ? `${section}, line ${from}` : `${section}, lines ${from}–${to}`;
}

function holder(node: Node): Element | null {
  return node instanceof Element ? node : node.parentElement;
}

function pageOf(element: Element | null, outline: Outline): string | null {
  const page = element?.closest<HTMLElement>('[data-page]')?.dataset.page;
  return page ? (outline.pages[Number(page) - 1]?.label ?? null) : null;
}

function lineOf(element: Element | null): string | null {
  return element?.closest<HTMLElement>('[data-line]')?.dataset.line ?? null;
}
