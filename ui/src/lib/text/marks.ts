/** The little Markdown that models put into a sentence: `code` and **strong words**. Everything else stays as it is. */
export interface Piece {
  kind: 'plain' | 'code' | 'strong';
  words: string;
}

/** A mark needs both its ends, and something between them that does not begin or end with a blank. */
const MARKED = /`([^`\n]+)`|\*\*(?!\s)([^*\n]+?)(?<!\s)\*\*/g;

export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const mark of text.matchAll(MARKED)) {
    if (mark.index > end) found.push({ kind: 'plain', words: text.slice(end, mark.index) });
    found.push(mark[1] !== undefined ? { kind: 'code', words: mark[1] } : { kind: 'strong', words: mark[2] ?? '' });
    end = mark.index + mark[0].length;
  }
  if (end < text.length) found.push({ kind: 'plain', words: text.slice(end) });
  return found;
}
