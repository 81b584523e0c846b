import { describe, expect, it } from 'vitest';
import { PageColumn } from './pages';

const pages = Array.from({ length: 2000 }, (_, index) => ({ width: 400, height: index % 2 ? 600 : 300 }));

describe('a column of 2,000 pages', () => {
  const column = new PageColumn(pages, 1.5);

  it('stacks them without overlap', () => {
    for (let index = 1; index < pages.length; index += 1) {
      const before = column.boxes[index - 1]!;
      expect(column.boxes[index]!.top).toBeGreaterThanOrEqual(before.top + before.height);
    }
    const last = column.boxes.at(-1)!;
    expect(column.height).toBeGreaterThan(last.top + last.height);
  });

  it('finds the page at a height', () => {
    for (const index of [0, 1, 999, 1999]) {
      const box = column.boxes[index]!;
      expect(column.at(box.top)).toBe(index);
      expect(column.at(box.top + box.height - 1)).toBe(index);
    }
    expect(column.at(-50)).toBe(0);
    expect(column.at(1e9)).toBe(1999);
  });

  it('draws only what is near', () => {
    const { top } = column.boxes[1000]!;
    const near = column.between(top - 800, top + 1600);
    expect(near.length).toBeLessThan(8);
    expect(near.some((box) => box.index === 1000)).toBe(true);
  });

  it('may be empty', () => {
    expect(new PageColumn([], 1).between(0, 100)).toEqual([]);
  });
});
