import { describe, expect, it } from 'vitest';
import { pieces } from './marks';

describe('marks in a sentence', () => {
  const told = (text: string) => pieces(text).map(({ kind, words }) => `${kind}:${words}`);

  it('are code and strong words', () => {
    expect(told('The limit is `MAX_SIZE`, **thirty** by default.')).toEqual([
      'plain:The limit is ',
      'code:MAX_SIZE',
      'plain:, ',
      'strong:thirty',
      'plain: by default.',
    ]);
    expect(told('`**kwargs`')).toEqual(['code:**kwargs']);
  });

  it('need both ends; everything else stays as it is', () => {
    for (const text of ['2 ** 3 ** 2', 'a ` b', '**open', '', '<b>no</b> *one*', '``']) {
      expect(pieces(text).map((piece) => piece.words).join('')).toBe(text);
      expect(pieces(text).every((piece) => piece.kind === 'plain')).toBe(true);
    }
  });
});
