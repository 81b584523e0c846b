/**
 * pdf.js, set up to take everything from this program: its worker, fonts and character maps from the built files,
 * the document by byte ranges from the backend.
 */
import * as pdfjs from 'pdfjs-dist';
import worker from 'pdfjs-dist/build/pdf.worker.min.mjs?url';
import type { PDFDocumentLoadingTask } from 'pdfjs-dist';
import type { Backend } from '../backend';

pdfjs.GlobalWorkerOptions.workerSrc = worker;

export { pdfjs };
export type { PDFDocumentProxy, PDFPageProxy, RenderTask } from 'pdfjs-dist';

const CHUNK = 1 << 18;

export interface Opening {
  task: PDFDocumentLoadingTask;
  /** Fails if bytes cannot be read, at any time while the document is open. */
  lost: Promise<never>;
}

/** Opens the kept original of a document. `password` is asked until it fits or gives null. */
export async function openPdf(
  backend: Backend,
  document: string,
  password: (wrong: boolean) => Promise<string | null>,
): Promise<Opening> {
  const size = await backend.originalSize(document);
  const first = new Uint8Array(await backend.readOriginal(document, 0, Math.min(size, CHUNK)));
  let lose: (reason: unknown) => void = () => {};
  const lost = new Promise<never>((_, reject) => (lose = reject));
  lost.catch(() => {});
  const range = new pdfjs.PDFDataRangeTransport(size, first);
  range.requestDataRange = (begin, end) => {
    backend.readOriginal(document, begin, end - begin).then(
      (bytes) => range.onDataRange(begin, new Uint8Array(bytes)),
      lose,
    );
  };
  const task = pdfjs.getDocument({
    range,
    rangeChunkSize: CHUNK,
    disableAutoFetch: true,
    disableStream: true,
    cMapUrl: '/pdfjs/cmaps/',
    cMapPacked: true,
    // Fonts that a file does not carry come from this program: a page looks the same on every machine.
    useSystemFonts: false,
    standardFontDataUrl: '/pdfjs/standard_fonts/',
    iccUrl: '/pdfjs/iccs/',
    wasmUrl: '/pdfjs/wasm/',
    // Hostile files are drawn here: no code is made from them, and no XFA forms.
    isEvalSupported: false,
    enableXfa: false,
  } as Parameters<typeof pdfjs.getDocument>[0]);
  task.onPassword = (answer: (password: string) => void, reason: number) => {
    void password(reason === pdfjs.PasswordResponses.INCORRECT_PASSWORD).then((given) => {
      if (given === null) void task.destroy();
      else answer(given);
    });
  };
  return { task, lost };
}
