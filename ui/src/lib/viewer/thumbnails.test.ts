import { describe, expect, it } from 'vitest';
import { Drawings } from './drawings';
import { PageColumn } from './pages';
import type { PDFDocumentProxy } from './pdfjs';
import { LABEL, Thumbnails, WIDTH, thumbnailSizes } from './thumbnails';

describe('thumbnails', () => {
  it('are all as wide, as tall as their pages, and a strip is cut', () => {
    const sizes = thumbnailSizes([
      { width: 612, height: 792 },
      { width: 792, height: 612 },
      { width: 100, height: 9000 },
      { width: null, height: null },
    ]);
    expect(sizes.map(({ width }) => width)).toEqual([WIDTH, WIDTH, WIDTH, WIDTH]);
    expect(sizes.map(({ height }) => height - LABEL)).toEqual([140, 83, 216, 140]);
    // Of 2,000 pages only those in view have a place in the list.
    const column = new PageColumn(Array.from({ length: 2000 }, () => sizes[0]!), 1);
    const seen = column.between(100_000, 100_800);
    expect(seen.length).toBeLessThan(8);
    expect(seen[0]!.index).toBe(column.at(100_000));
  });

  it('are drawn once, and kept', async () => {
    const drawn: number[] = [];
    const given: number[] = [];
    const thumbnails = new Thumbnails({} as PDFDocumentProxy, new Drawings(0), async (_, page) => {
      drawn.push(page);
      if (page === 1) throw new Error('no such page');
      return document.createElement('canvas');
    });
    for (const page of [0, 1, 2]) thumbnails.want(page, () => given.push(page));
    await new Promise((done) => setTimeout(done, 5));
    // The one that cannot be drawn keeps nobody from the next.
    expect(given).toEqual([0, 2]);
    thumbnails.want(2, () => given.push(2));
    expect(given).toEqual([0, 2, 2]);
    expect(drawn).toEqual([0, 1, 2]);
  });
});
