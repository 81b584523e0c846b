/** What a person has selected in the viewer, and where it stands. */
import type { Outline } from '../bindings';

export interface Selected {
  words: string;
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
  return { words, place: placeOfRange(range, outline), box: { left, right, top, bottom } };
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
  const section = outline.sections.findLast((other) => other.block <= block)?.title ?? '';
  const [from, to] = [lineOf(first), lineOf(last)];
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
