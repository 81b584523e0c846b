/** What the viewer shows of one document: its outline, evidence, search hits, and where to go. */
import type {
  AnchorView,
  Citation,
  CitingAnswer,
  ContentBlock,
  DocumentSummary,
  Failure,
  Outline,
  TextSpan,
} from '../bindings';
import { failureOf, type Backend } from '../backend';
import type { Highlight } from '../text/segments';
import { Drawings } from '../viewer/drawings';
import type { PDFDocumentProxy } from '../viewer/pdfjs';
import type { Selected } from '../viewer/selection';

/** A place to scroll to. A new object each time, so that going to the same place twice scrolls twice. */
export interface Target {
  span: TextSpan;
  anchor: AnchorView;
}

/** Blocks are fetched in runs of this many. */
const RUN = 64;
/** Runs kept at most; the ones used longest ago go first. */
const KEPT_RUNS = 96;

/** What an answer rests on, or what only comes nearest to its question. */
export type EvidenceName = 'Evidence' | 'Nearest';

export class Viewer {
  outline = $state.raw<Outline | null>(null);
  failure = $state<Failure | null>(null);
  /** Evidence of the answer that is looked at, in order. */
  evidence = $state.raw<Citation[]>([]);
  evidenceName = $state<EvidenceName>('Evidence');
  current = $state(-1);
  /** What of the document that answer could see. */
  coverage = $state.raw<TextSpan[]>([]);
  target = $state.raw<Target | null>(null);
  /** What is open beside the text. */
  panel = $state<'outline' | 'thumbnails' | null>(null);
  /** The file, once pdf.js has opened it. */
  pdf = $state.raw<PDFDocumentProxy | null>(null);
  readonly drawings = new Drawings();
  findOpen = $state(false);
  findQuery = $state('');
  found = $state.raw<TextSpan[]>([]);
  foundMore = $state(false);
  foundAt = $state(-1);
  /** Page (0-based) or block at the top of the view. */
  place = $state(0);
  /** Counts fetched runs, so that what is drawn follows them. */
  #fetched = $state(0);
  #runs = new Map<number, ContentBlock[]>();
  #fetching = new Map<number, Promise<void>>();
  #search = 0;

  constructor(
    readonly backend: Backend,
    readonly document: DocumentSummary,
  ) {}

  async load(): Promise<void> {
    try {
      const params = { document: this.document.id };
      this.outline = (await this.backend.call({ method: 'outline', params })).outline;
      this.failure = null;
    } catch (thrown) {
      this.failure = failureOf(thrown);
    }
  }

  readonly highlights: Highlight[] = $derived.by(() => {
    const evidence = this.evidence.map(
      ({ start, end }, index): Highlight => ({
        start,
        end,
        kind: index === this.current ? 'current' : 'evidence',
      }),
    );
    const found = this.found.map(
      ({ start, end }, index): Highlight => ({
        start,
        end,
        kind: index === this.foundAt ? 'current' : 'found',
      }),
    );
    return [...evidence, ...found].sort((a, b) => a.start - b.start);
  });

  /** A block, if it is here; otherwise it is fetched and this is asked again. */
  block(index: number): ContentBlock | null {
    void this.#fetched;
    const run = Math.floor(index / RUN);
    const blocks = this.#runs.get(run);
    if (!blocks) {
      void this.fetch(index);
      return null;
    }
    // Keep what was used last at the end.
    this.#runs.delete(run);
    this.#runs.set(run, blocks);
    return blocks[index - run * RUN] ?? null;
  }

  fetch(index: number): Promise<void> {
    const run = Math.floor(index / RUN);
    if (this.#runs.has(run)) return Promise.resolve();
    const already = this.#fetching.get(run);
    if (already) return already;
    const params = { document: this.document.id, first: run * RUN, count: RUN };
    const fetching = this.backend
      .call({ method: 'content', params })
      .then(({ blocks }) => {
        this.#runs.set(run, blocks);
        for (const old of this.#runs.keys()) {
          if (this.#runs.size <= KEPT_RUNS) break;
          this.#runs.delete(old);
        }
        this.#fetched += 1;
      })
      .catch((thrown: unknown) => {
        this.failure = failureOf(thrown);
      })
      .finally(() => this.#fetching.delete(run));
    this.#fetching.set(run, fetching);
    return fetching;
  }

  /** Shows one of an answer's pieces of evidence, and highlights the others too. */
  showEvidence(
    evidence: Citation[],
    index: number,
    coverage: TextSpan[] = this.coverage,
    name: EvidenceName = this.evidenceName,
  ): void {
    this.evidence = evidence;
    this.evidenceName = name;
    this.coverage = coverage;
    this.current = index;
    this.foundAt = -1;
    const citation = evidence[index];
    if (citation) this.target = { span: citation, anchor: citation.anchor };
  }

  stepEvidence(by: 1 | -1): void {
    const { length } = this.evidence;
    if (length > 0) this.showEvidence(this.evidence, (this.current + by + length) % length);
  }

  clearEvidence(): void {
    this.evidence = [];
    this.coverage = [];
    this.current = -1;
  }

  async find(query: string): Promise<void> {
    this.findQuery = query;
    const search = ++this.#search;
    if (query.trim() === '') {
      this.found = [];
      this.foundAt = -1;
      this.foundMore = false;
      return;
    }
    try {
      const params = { document: this.document.id, query };
      const { spans, more } = await this.backend.call({ method: 'find', params });
      if (search !== this.#search) return;
      this.found = spans;
      this.foundMore = more;
      this.foundAt = -1;
      if (spans.length > 0) await this.goToFound(0);
    } catch (thrown) {
      if (search === this.#search) this.failure = failureOf(thrown);
    }
  }

  stepFound(by: 1 | -1): Promise<void> {
    const { length } = this.found;
    return length > 0 ? this.goToFound((this.foundAt + by + length) % length) : Promise.resolve();
  }

  async goToFound(index: number): Promise<void> {
    this.foundAt = index;
    this.current = -1;
    const span = this.found[index];
    if (span) await this.goTo(span);
  }

  closeFind(): void {
    this.findOpen = false;
    void this.find('');
  }

  /** Where selected words stand: the words themselves if they are found there, else the blocks or pages they are in. */
  async spanOf({ words, within }: Selected): Promise<TextSpan | null> {
    if (!within) return null;
    const spanAt = (index: number) =>
      within.kind === 'page' ? this.outline?.pages[index]?.span : this.block(index)?.span;
    const [first, last] = [spanAt(within.first), spanAt(within.last)];
    if (!first || !last) return null;
    const around = { start: first.start, end: last.end };
    const params = { document: this.document.id, query: words };
    const { spans } = await this.backend.call({ method: 'find', params });
    return spans.find((span) => span.start >= around.start && span.end <= around.end) ?? around;
  }

  /** Answers that cite selected words, newest first. */
  async citedBy(selected: Selected): Promise<CitingAnswer[]> {
    const span = await this.spanOf(selected);
    if (!span) return [];
    const params = { document: this.document.id, span };
    return (await this.backend.call({ method: 'cited_by', params })).answers;
  }

  /** Scrolls to a span of which only the bytes are known. */
  async goTo(span: TextSpan): Promise<void> {
    const [anchor] = await this.locate([span]);
    if (anchor) this.target = { span, anchor };
  }

  /** Scrolls to the top of a page, counted from 0. */
  goToPage(index: number): void {
    const page = this.outline?.pages[index];
    if (!page) return;
    const anchor: AnchorView = { kind: 'pages', pages: [{ page: index + 1, label: page.label, quads: [] }] };
    this.target = { span: { start: page.span.start, end: page.span.start }, anchor };
  }

  async locate(spans: TextSpan[]): Promise<AnchorView[]> {
    const params = { document: this.document.id, spans };
    return (await this.backend.call({ method: 'locate', params })).anchors;
  }
}
