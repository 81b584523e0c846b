/** What a plain browser shows: `?fake` a small library, `?fake=empty` none, `?fake=huge` very long documents. */
import { FakeBackend } from './backend';
import { BOHEMIA } from './bohemia';
import { FakeDocument } from './document';

export function demo(kind: string): FakeBackend {
  const pace = 45;
  if (kind === 'empty') return new FakeBackend({ pace });
  if (kind === 'first') return new FakeBackend({ pace, model: false });
  if (kind === 'huge') {
    const long = Array.from({ length: 2200 }, (_, part) => BOHEMIA.replace('The Note', `The Note ${part}`)).join('\n\n');
    const reading = { state: 'too_long' as const, tokens: 2_900_000, window: 32_768 };
    return new FakeBackend({
      pace,
      documents: [
        new FakeDocument({ id: 'text', title: 'Ten Megabytes', format: 'text', text: long, reading }),
        new FakeDocument({ id: 'pdf', title: 'Two Thousand Pages', format: 'pdf', text: long.slice(0, 3_400_000), reading }),
      ],
    });
  }
  const tokens = Math.ceil(BOHEMIA.length / 4);
  return new FakeBackend({
    pace,
    documents: [
      new FakeDocument({
        id: 'pdf',
        title: 'A Scandal in Bohemia',
        authors: 'Arthur Conan Doyle',
        format: 'pdf',
        text: BOHEMIA,
        reading: { state: 'read', tokens, cache_bytes: tokens * 14_336 },
      }),
      new FakeDocument({
        id: 'text',
        title: 'The Adventures of Sherlock Holmes, with an Introduction and Notes for the Common Reader',
        authors: 'Arthur Conan Doyle',
        format: 'epub',
        text: BOHEMIA,
        reading: { state: 'partly', tokens: Math.floor(tokens * 0.4), total: tokens },
      }),
    ],
  });
}
