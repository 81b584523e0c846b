/**
 * Highlights of a PDF page as polygons in points. Evidence brings its quads along; places that a search found have
 * only byte ranges, and are located when their page comes near.
 */
import type { AnchorView, PageSize, TextSpan } from '../bindings';
import type { Viewer } from '../state/viewer.svelte';
import type { HighlightKind } from '../text/segments';

export interface PageMark {
  kind: HighlightKind;
  /** As an SVG polygon takes them. */
  points: string;
}

/** Quads an answer to `locate` gave, by document and span: searches ask for the same places over and over. */
const located = new WeakMap<Viewer, Map<string, AnchorView>>();

export async function marksOnPage(viewer: Viewer, page: PageSize, number: number): Promise<PageMark[]> {
  const { evidence, current, found, foundAt } = viewer;
  const marks: PageMark[] = evidence.flatMap(({ anchor }, index) =>
    polygons(anchor, number, index === current ? 'current' : 'evidence'),
  );
  const here = found
    .map((span, index) => ({ span, kind: index === foundAt ? ('current' as const) : ('found' as const) }))
    .filter(({ span }) => span.start < page.span.end && span.end > page.span.start);
  const anchors = await locate(viewer, here.map(({ span }) => span));
  here.forEach(({ kind }, index) => {
    const anchor = anchors[index];
    if (anchor) marks.push(...polygons(anchor, number, kind));
  });
  // What is current lies on top.
  return marks.sort((a, b) => Number(a.kind === 'current') - Number(b.kind === 'current'));
}

async function locate(viewer: Viewer, spans: TextSpan[]): Promise<(AnchorView | undefined)[]> {
  let known = located.get(viewer);
  if (!known) located.set(viewer, (known = new Map()));
  const cache = known;
  const key = (span: TextSpan) => `${span.start}-${span.end}`;
  const missing = spans.filter((span) => !cache.has(key(span)));
  if (missing.length > 0) {
    const anchors = await viewer.locate(missing).catch(() => []);
    anchors.forEach((anchor, index) => cache.set(key(missing[index]!), anchor));
  }
  return spans.map((span) => cache.get(key(span)));
}

function polygons(anchor: AnchorView, page: number, kind: HighlightKind): PageMark[] {
  if (anchor.kind !== 'pages') return [];
  return anchor.pages
    .filter((marks) => marks.page === page)
    .flatMap((marks) => marks.quads)
    .map((quad) => ({ kind, points: quad.map((number) => (number ?? 0).toFixed(2)).join(' ') }));
}
