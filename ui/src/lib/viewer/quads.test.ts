import { getDocument } from 'pdfjs-dist/legacy/build/pdf.mjs';
import { describe, expect, it } from 'vitest';
import { BOHEMIA } from '../fake/bohemia';
import { FakeDocument } from '../fake/document';
import { byteOffset, utf8Length } from '../text/offsets';

/** pdf.js itself says where words stand on a page; the highlight's quads must lie on them. */
describe('quads in points from the top left', () => {
  it('cover the words that pdf.js draws', async () => {
    const document = new FakeDocument({ id: 'd', title: 'Bohemia', format: 'pdf', text: BOHEMIA });
    const words = 'the twentieth of March';
    const start = byteOffset(BOHEMIA, BOHEMIA.indexOf(words));
    const anchor = document.anchor({ start, end: start + utf8Length(words) });
    if (anchor.kind !== 'pages') throw new Error('a PDF has pages');
    const [marks] = anchor.pages;
    const pdf = await getDocument({ data: document.file(), verbosity: 0 }).promise;
    const page = await pdf.getPage(marks!.page);
    const { height } = page.getViewport({ scale: 1 });
    const { items } = await page.getTextContent();
    const covered = items
      .flatMap((item) => {
        if (!('str' in item)) return [];
        const [x, y] = [item.transform[4] as number, height - (item.transform[5] as number)];
        const advance = item.width / item.str.length;
        return [...item.str].map((character, at) => ({ character, x: x + (at + 0.5) * advance, y: y - 2 }));
      })
      .filter(({ x, y }) =>
        marks!.quads.some((quad) => {
          const [x0, y0, , , x1, y1] = quad as number[];
          return x > x0! && x < x1! && y > y0! && y < y1!;
        }),
      )
      .map(({ character }) => character)
      .join('');
    expect(covered).toBe(words.replace(/\n/g, ''));
  });
});
