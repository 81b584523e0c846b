/** Small pictures of PDF pages, for the panel beside them. */
import type { Drawings } from './drawings';
import type { PDFDocumentProxy } from './pdfjs';

/** Pixels of a picture's width, on a screen of one pixel a point. */
export const WIDTH = 108;
/** Room for the page's number below its picture. */
export const LABEL = 20;
/** A page that is taller than this many times its width is cut. */
const TALLEST = 2;

/** Sizes in a column of pictures, number included. */
export function thumbnailSizes(
  pages: readonly { width: number | null; height: number | null }[],
): { width: number; height: number }[] {
  return pages.map(({ width, height }) => {
    const share = Math.min(TALLEST, (height ?? 792) / (width || 612));
    return { width: WIDTH, height: Math.round(WIDTH * share) + LABEL };
  });
}

/** Kept pictures; some 60 kB each, four times that on a fine screen. */
const KEPT = 200;

/** Pages go before their pictures. */
const AFTER_PAGES = 1e6;

/** Thumbnails of one document, the ones drawn last kept. */
export class Thumbnails {
  #drawn = new Map<number, HTMLCanvasElement>();

  constructor(
    readonly pdf: PDFDocumentProxy,
    readonly drawings: Drawings,
    readonly draw: (pdf: PDFDocumentProxy, page: number) => Promise<HTMLCanvasElement> = drawThumbnail,
  ) {}

  /** The picture of a page (from 0), as soon as its turn comes. Gives a way to want it no more. */
  want(page: number, give: (canvas: HTMLCanvasElement) => void): () => void {
    const drawn = this.#drawn.get(page);
    if (drawn) {
      this.#keep(page, drawn);
      give(drawn);
      return () => {};
    }
    // A page that cannot be drawn keeps its blank sheet; the large one says so.
    return this.drawings.want(
      () => AFTER_PAGES + page,
      async () => {
        const canvas = await this.draw(this.pdf, page);
        this.#keep(page, canvas);
        give(canvas);
      },
    );
  }

  #keep(page: number, canvas: HTMLCanvasElement): void {
    this.#drawn.delete(page);
    this.#drawn.set(page, canvas);
    for (const old of this.#drawn.keys()) {
      if (this.#drawn.size <= KEPT) break;
      this.#drawn.delete(old);
    }
  }
}

async function drawThumbnail(pdf: PDFDocumentProxy, index: number): Promise<HTMLCanvasElement> {
  const page = await pdf.getPage(index + 1);
  const natural = page.getViewport({ scale: 1 });
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const viewport = page.getViewport({ scale: (WIDTH * ratio) / natural.width });
  const canvas = document.createElement('canvas');
  canvas.width = Math.ceil(viewport.width);
  canvas.height = Math.ceil(Math.min(viewport.height, viewport.width * TALLEST));
  await page.render({ canvas, viewport }).promise;
  return canvas;
}
