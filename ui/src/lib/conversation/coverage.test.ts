import { describe, expect, it } from 'vitest';
import type { DocumentSummary, Strategy } from '../bindings';
import { coverageLine } from './coverage';

const document = { text_bytes: 100_000 } as DocumentSummary;

function line(strategy: Strategy, ...lengths: number[]) {
  const coverage = lengths.map((length, nth) => ({ start: 10_000 * nth, end: 10_000 * nth + length }));
  return coverageLine({ strategy, coverage, model: 'm at h' }, document);
}

describe('what an answer saw', () => {
  it('is not said where it was everything', () => {
    expect(line('whole_document', 100_000)).toBeNull();
  });

  it('is said by how the question was worked', () => {
    expect(line('read_segments', 4000, 6000)).toBe(
      'This answer looked at the 2 parts of the document that match the question best, 10 % of it.',
    );
    expect(line('read_segments', 500)).toMatch('the part of the document that matches the question best, less than 1 % of it.');
    expect(line('retrieved_passages', 2000)).toMatch('saw 1 passage, 2 % of the document, which is longer');
    expect(line('partly_read', 2000, 2000)).toMatch('saw 2 parts, 4 % of the document, which is still to be read');
    expect(line('endpoint', 2000)).toMatch('Answered by m at h, which saw 1 passage, 2 % of the document.');
  });
});
