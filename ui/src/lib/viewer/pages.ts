/** Where the pages of a PDF stand in the scrolled column, from their sizes alone. Pixels, from the column's top. */

export interface PageBox {
  index: number;
  top: number;
  width: number;
  height: number;
}

const GAP = 14;
const MARGIN = 16;

export class PageColumn {
  readonly boxes: PageBox[];
  readonly height: number;
  readonly width: number;

  /** `scale`: pixels a point. Pages without a size take that of a letter. */
  constructor(
    pages: readonly { width: number | null; height: number | null }[],
    readonly scale: number,
  ) {
    let top = MARGIN;
    this.boxes = pages.map((page, index) => {
      const width = Math.floor((page.width ?? 612) * scale);
      const height = Math.floor((page.height ?? 792) * scale);
      const box = { index, top, width, height };
      top += height + GAP;
      return box;
    });
    this.height = top - GAP + MARGIN;
    this.width = this.boxes.reduce((widest, box) => Math.max(widest, box.width), 0);
  }

  /** The page that holds a height, or the last one that begins above it. */
  at(y: number): number {
    let [low, high] = [0, this.boxes.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.boxes[middle]!.top <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** Pages that touch a range of heights. */
  between(top: number, bottom: number): PageBox[] {
    if (this.boxes.length === 0) return [];
    return this.boxes.slice(this.at(top), this.at(bottom) + 1);
  }
}
