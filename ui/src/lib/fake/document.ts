/** A document of the fake engine: canonical text, blocks, anchors, answers found by shared words. */
import type {
  AnchorView,
  AnswerSentence,
  Citation,
  ContentBlock,
  DocumentFormat,
  DocumentSummary,
  Forecast,
  Outline,
  ReadState,
  TextSpan,
} from '../bindings';
import { byteOffset, sliceBytes, utf8Length } from '../text/offsets';
import { pdfOf, quadsOn, typeset, type SetPage } from './pdf';

interface Piece {
  index: number;
  /** String index of the first character. */
  at: number;
  text: string;
  start: number;
  end: number;
}

export interface FakeOptions {
  id: string;
  title: string;
  authors?: string;
  format: DocumentFormat;
  text: string;
  reading?: ReadState;
  forecast?: Forecast;
  notices?: string[];
}

export class FakeDocument {
  readonly text: string;
  readonly pieces: Piece[] = [];
  readonly pages: SetPage[];
  readonly summary: DocumentSummary;
  readonly tokens: number;

  constructor(readonly options: FakeOptions) {
    this.text = options.text;
    let at = 0;
    let start = 0;
    for (const text of this.text.split('\n\n')) {
      const length = utf8Length(text);
      this.pieces.push({ index: this.pieces.length, at, text, start, end: start + length });
      at += text.length + 2;
      start += length + 2;
    }
    this.pages = options.format === 'pdf' ? typeset(this.text) : [];
    this.tokens = Math.ceil(this.text.length / 4);
    this.summary = {
      id: options.id,
      title: options.title,
      authors: options.authors ?? null,
      format: options.format,
      source: `/home/reader/${options.title}`,
      text_bytes: utf8Length(this.text),
      words: this.text.split(/\s+/).length,
      pages: options.format === 'pdf' ? this.pages.length : null,
      added: 1_790_000_000,
      reading: options.reading ?? { state: 'unread' },
      forecast: options.forecast ?? null,
      notices: options.notices ?? [],
    };
  }

  file(): Uint8Array {
    return pdfOf(this.pages);
  }

  #isHeading(piece: Piece): boolean {
    return piece.text.length < 40 && !/[.!?”]$/.test(piece.text);
  }

  outline(): Outline {
    const heads = this.pieces.filter((piece) => this.#isHeading(piece));
    return {
      sections: heads.map((piece, index) => ({
        title: piece.text,
        depth: index === 0 ? 0 : 1,
        span: { start: piece.start, end: heads[index + 1]?.start ?? this.summary.text_bytes },
        block: piece.index,
        page: this.pages.length > 0 ? this.#pageOf(piece.at) + 1 : null,
      })),
      pages: this.pages.map((page, index) => ({
        label: String(index + 1),
        width: page.width,
        height: page.height,
        span: {
          start: byteOffset(this.text, page.lines[0]?.start ?? 0),
          end: byteOffset(this.text, this.pages[index + 1]?.lines[0]?.start ?? this.text.length),
        },
      })),
      blocks: this.pieces.length,
      bytes: this.summary.text_bytes,
      notices: this.summary.notices,
    };
  }

  #pageOf(at: number): number {
    return this.pages.findLastIndex((page) => (page.lines[0]?.start ?? 0) <= at);
  }

  content(first: number, count: number): ContentBlock[] {
    return this.pieces.slice(first, first + count).map((piece) => ({
      index: piece.index,
      layout: this.#isHeading(piece)
        ? { kind: 'heading', level: piece.index === 0 ? 1 : 2 }
        : this.options.format === 'code'
          ? { kind: 'preformatted', first_line: 1 + piece.index * 20, file: 'src/main.rs' }
          : { kind: 'paragraph' },
      span: { start: piece.start, end: piece.end },
      text: piece.text,
      marks: [],
    }));
  }

  anchor(span: TextSpan): AnchorView {
    const piece = this.pieces.findLast((other) => other.start <= span.start) ?? this.pieces[0]!;
    if (this.pages.length > 0) {
      const from = sliceBytes(this.text, 0, span.start).length;
      const to = from + sliceBytes(this.text, span.start, span.end).length;
      const pages = this.pages
        .map((page, index) => ({ page: index + 1, label: String(index + 1), quads: quadsOn(page, from, to) }))
        .filter((page) => page.quads.length > 0);
      return { kind: 'pages', pages: pages as Extract<AnchorView, { kind: 'pages' }>['pages'] };
    }
    const heading = this.pieces.findLast((other) => other.index <= piece.index && this.#isHeading(other));
    return { kind: 'flow', section: heading?.text ?? '', line: piece.index * 2 + 1, block: piece.index };
  }

  quote({ start, end }: TextSpan): string {
    return end > this.summary.text_bytes ? '' : sliceBytes(this.text, start, end);
  }

  find(query: string): TextSpan[] {
    const [text, words] = [this.text.toLowerCase(), query.toLowerCase()];
    const spans: TextSpan[] = [];
    for (let at = text.indexOf(words); at >= 0 && spans.length < 1000; at = text.indexOf(words, at + 1)) {
      const start = byteOffset(this.text, at);
      spans.push({ start, end: start + utf8Length(this.text.slice(at, at + words.length)) });
    }
    return spans;
  }

  /** Three sentences of the text that share most words with the question, and one that nothing bears out. */
  answer(question: string): AnswerSentence[] {
    const asked = new Set(question.toLowerCase().match(/\p{L}{4,}/gu) ?? []);
    const all = this.pieces
      .filter((piece) => !this.#isHeading(piece))
      .slice(0, 400)
      .flatMap((piece) =>
        [...piece.text.matchAll(/[^.!?]+[.!?]+[”]?/g)].map((match) => {
          const text = match[0].trim();
          const at = piece.at + match.index + (match[0].length - match[0].trimStart().length);
          const shared = [...asked].filter((word) => text.toLowerCase().includes(word)).length;
          return { text, at, shared };
        }),
      );
    const best = [...all].sort((a, b) => b.shared - a.shared || a.at - b.at).slice(0, 3);
    const said = best.map(({ text, at }, index) => ({
      text: text.replace(/[“”]/g, ''),
      citations: [this.#citation(at, text), ...(index === 0 && best[1] ? [this.#citation(best[1].at, best[1].text)] : [])],
      state: index === 2 ? ('partly' as const) : ('supported' as const),
    }));
    const all_said = [
      ...said,
      { text: 'Nobody else is known to have seen it.', citations: [], state: 'unsupported' as const },
      { text: 'The document does not say why.', citations: [], state: 'no_claim' as const },
    ];
    let start = 0;
    return all_said.map((sentence) => {
      const end = start + utf8Length(sentence.text);
      const placed = { ...sentence, span: { start, end } };
      start = end + 1;
      return placed;
    });
  }

  /** An answer that says that there is none. */
  refusal(): AnswerSentence {
    const text = 'The document does not say.';
    return { text, span: { start: 0, end: utf8Length(text) }, state: 'no_claim', citations: [] };
  }

  /** Where the words of the question stand. */
  nearest(question: string): Citation[] {
    const [first] = this.answer(question);
    return first?.citations ?? [];
  }

  #citation(at: number, quote: string): Citation {
    const start = byteOffset(this.text, at);
    const end = start + utf8Length(quote);
    return { document: this.options.id, start, end, quote, anchor: this.anchor({ start, end }), score: 0.9 };
  }
}
