import { expect, it } from 'vitest';
import { bytes, count, day, duration, fileName, percent } from './format';
import { placeOf } from './place';

it('says numbers as people do', () => {
  expect([0, 999, 1500, 97_000_000, 1_117_320_576, 20 * 2 ** 30].map(bytes)).toEqual([
    '0 bytes',
    '999 bytes',
    '1.5 kB',
    '97 MB',
    '1.1 GB',
    '21 GB',
  ]);
  expect([3, 42, 89, 600, 3900].map(duration)).toEqual(['5 s', '45 s', '1 min', '10 min', '1 h 5 min']);
  expect(count(1, 'page')).toBe('1 page');
  expect(count(12_345, 'word')).toBe('12,345 words');
  expect(percent(999, 1000)).toBe(99);
  expect(percent(1, 0)).toBe(0);
  expect(fileName('/home/a/b.pdf')).toBe('b.pdf');
  expect(fileName('C:\\Books\\b.pdf')).toBe('b.pdf');
});

it('says days near and far', () => {
  const now = new Date(2026, 4, 10, 9);
  const at = (...date: [number, number, number]) => new Date(...date, 8).getTime() / 1000;
  expect(day(at(2026, 4, 10), now)).toBe('today');
  expect(day(at(2026, 4, 9), now)).toBe('yesterday');
  expect(day(at(2026, 2, 12), now)).toBe('12 Mar');
  expect(day(at(2024, 2, 12), now)).toBe('12 Mar 2024');
});

it('says where evidence stands', () => {
  const page = (label: string, page: number) => ({ page, label, quads: [] });
  expect(placeOf({ kind: 'pages', pages: [page('xii', 12)] })).toBe('p. xii');
  expect(placeOf({ kind: 'pages', pages: [page('3', 5), page('4', 6)] })).toBe('pp. 3–4');
  const lines = { first_line: 3, last_line: 9, first_column: 1, last_column: 2, block: 0 };
  expect(placeOf({ kind: 'lines', file: 'src/a.rs', ...lines })).toBe('src/a.rs, lines 3–9');
  expect(placeOf({ kind: 'flow', section: '', line: 7, block: 0 })).toBe('line 7');
});
