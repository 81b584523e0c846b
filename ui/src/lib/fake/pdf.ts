/**
 * A real PDF file made of lines of text, with the box of every character known: Courier's characters are all 0.6 em
 * wide. It lets the viewer's highlights be checked against what pdf.js draws, without the engine.
 */
const WIDTH = 420;
const HEIGHT = 595;
const LEFT = 48;
const TOP = 64;
const SIZE = 9.2;
const LEADING = 14;
const COLUMNS = Math.floor((WIDTH - 2 * LEFT) / (SIZE * 0.6));
const ROWS = Math.floor((HEIGHT - 2 * TOP) / LEADING);

export interface SetLine {
  /** Index of the first character in the text. */
  start: number;
  text: string;
}

export interface SetPage {
  width: number;
  height: number;
  lines: SetLine[];
}

/** Breaks text into lines and pages. Every character of the text keeps its index. */
export function typeset(text: string): SetPage[] {
  const lines: SetLine[] = [];
  let start = 0;
  for (const paragraph of text.split('\n')) {
    let at = 0;
    while (paragraph.length - at > COLUMNS) {
      const room = paragraph.slice(at, at + COLUMNS + 1);
      const blank = room.lastIndexOf(' ');
      const width = blank > 0 ? blank + 1 : COLUMNS;
      lines.push({ start: start + at, text: paragraph.slice(at, at + width) });
      at += width;
    }
    lines.push({ start: start + at, text: paragraph.slice(at) });
    start += paragraph.length + 1;
  }
  const pages: SetPage[] = [];
  for (let first = 0; first < lines.length; first += ROWS) {
    pages.push({ width: WIDTH, height: HEIGHT, lines: lines.slice(first, first + ROWS) });
  }
  return pages;
}

/** The quads of the characters from `start` to `end` on a page: one a line, in points from the top left. */
export function quadsOn(page: SetPage, start: number, end: number): number[][] {
  const advance = SIZE * 0.6;
  return page.lines.flatMap((line, row) => {
    const from = Math.max(start, line.start) - line.start;
    const to = Math.min(end, line.start + line.text.trimEnd().length) - line.start;
    if (from >= to) return [];
    const [x0, x1] = [LEFT + from * advance, LEFT + to * advance];
    const baseline = TOP + row * LEADING;
    const [y0, y1] = [baseline - SIZE * 0.8, baseline + SIZE * 0.25];
    return [[x0, y0, x1, y0, x1, y1, x0, y1]];
  });
}

/** WinAnsi codes of the punctuation that occurs; anything else outside Latin-1 becomes a question mark. */
const WIN_ANSI: Record<string, number> = { '“': 0x93, '”': 0x94, '’': 0x92, '‘': 0x91, '—': 0x97, '–': 0x96 };

function literal(text: string): string {
  return [...text]
    .map((character) => {
      const code = WIN_ANSI[character] ?? character.codePointAt(0)!;
      if ('()\\'.includes(character)) return `\\${character}`;
      if (code > 0xff) return '?';
      return code < 0x80 ? character : `\\${code.toString(8).padStart(3, '0')}`;
    })
    .join('');
}

export function pdfOf(pages: SetPage[]): Uint8Array {
  const objects: string[] = [];
  const put = (body: string) => objects.push(body);
  const kids = pages.map((_, index) => `${4 + index * 2} 0 R`).join(' ');
  put('<< /Type /Catalog /Pages 2 0 R >>');
  put(`<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`);
  put('<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>');
  pages.forEach((page, index) => {
    put(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${page.width} ${page.height}] ` +
        `/Resources << /Font << /F 3 0 R >> >> /Contents ${5 + index * 2} 0 R >>`,
    );
    const rows = page.lines.map((line, row) => {
      const y = page.height - TOP - row * LEADING;
      return `1 0 0 1 ${LEFT} ${y.toFixed(2)} Tm (${literal(line.text)}) Tj`;
    });
    const stream = `BT /F ${SIZE} Tf\n${rows.join('\n')}\nET`;
    put(`<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`);
  });
  let file = '%PDF-1.4\n';
  const places = objects.map((body, index) => {
    const place = file.length;
    file += `${index + 1} 0 obj\n${body}\nendobj\n`;
    return place;
  });
  const table = file.length;
  file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n`;
  file += places.map((place) => `${String(place).padStart(10, '0')} 00000 n \n`).join('');
  file += `trailer << /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${table}\n%%EOF\n`;
  return Uint8Array.from(file, (character) => character.charCodeAt(0));
}
