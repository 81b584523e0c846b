import { describe, expect, it } from 'vitest';
import type { ReadProgress } from '../bindings';
import { BOHEMIA } from '../fake/bohemia';
import { FakeBackend } from '../fake/backend';
import { FakeDocument } from '../fake/document';
import { Dialogue, evidenceOf } from './conversation.svelte';

function setUp(reading: 'read' | 'unread' = 'read') {
  const document = new FakeDocument({
    id: 'd1',
    title: 'Bohemia',
    format: 'text',
    text: BOHEMIA,
    reading: reading === 'read' ? { state: 'read', tokens: 900, cache_bytes: 1 } : { state: 'unread' },
  });
  const backend = new FakeBackend({ documents: [document] });
  return { backend, document };
}

const QUESTION = 'When did Watson pass through Baker Street?';

describe('a dialogue', () => {
  it('streams, then holds the whole answer with exact quotes', async () => {
    const { backend } = setUp();
    const dialogue = new Dialogue(backend, 'd1');
    const asking = dialogue.ask(`  ${QUESTION} `);
    expect(dialogue.asking).toBe(true);
    await asking;
    const [turn] = dialogue.turns;
    expect(turn?.question).toBe(QUESTION);
    expect(turn?.text).toBe(turn?.answer?.answer);
    expect(turn?.stage).toBeNull();
    expect(dialogue.conversation).toBe('c1');
    const evidence = evidenceOf(turn!.sentences);
    expect(evidence.length).toBeGreaterThan(1);
    const bytes = new TextEncoder().encode(BOHEMIA);
    for (const { start, end, quote } of evidence) {
      expect(new TextDecoder().decode(bytes.slice(start, end))).toBe(quote);
    }
    expect(new Set(evidence.map(({ start, end }) => `${start}-${end}`)).size).toBe(evidence.length);
  });

  it('goes on in the same conversation', async () => {
    const { backend } = setUp();
    const dialogue = new Dialogue(backend, 'd1');
    await dialogue.ask(QUESTION);
    await dialogue.ask('Who is Irene Adler?');
    expect(backend.conversations.get('c1')?.turns).toHaveLength(2);
    dialogue.startNew();
    expect(dialogue.turns).toHaveLength(0);
    await dialogue.open('c1');
    expect(dialogue.turns.map((turn) => turn.question)).toEqual([QUESTION, 'Who is Irene Adler?']);
    expect(dialogue.turns.map((turn) => turn.stage)).toEqual([null, null]);
  });

  it('shows what was done last, whenever an earlier conversation comes', async () => {
    const { backend } = setUp();
    const dialogue = new Dialogue(backend, 'd1');
    await dialogue.ask(QUESTION);
    dialogue.startNew();
    await dialogue.ask('Who is Irene Adler?');
    dialogue.startNew();
    const questions = () => dialogue.turns.map((turn) => turn.question);
    // The first to be asked for comes last.
    const call = backend.call.bind(backend);
    let come = () => {};
    backend.call = (async (request: Parameters<typeof call>[0], options) => {
      const outcome = await call(request, options);
      if (request.method === 'conversation' && request.params.conversation === 'c1') {
        await new Promise<void>((done) => (come = done));
      }
      return outcome;
    }) as typeof backend.call;
    const slow = dialogue.open('c1');
    await dialogue.open('c2');
    come();
    await slow;
    expect(questions()).toEqual(['Who is Irene Adler?']);
    dialogue.startNew();
    const late = dialogue.open('c1');
    await dialogue.ask('Who is the King?');
    come();
    await late;
    expect(questions()).toEqual(['Who is the King?']);
  });

  it('stops, and keeps what was said until then', async () => {
    const { backend } = setUp();
    const dialogue = new Dialogue(backend, 'd1');
    const asking = dialogue.ask(QUESTION);
    while (!dialogue.turns[0]?.sentences[0]) await new Promise((done) => setTimeout(done, 1));
    dialogue.stop();
    expect(dialogue.stopping).toBe(true);
    await asking;
    const [turn] = dialogue.turns;
    expect(turn?.stopped).toBe(true);
    expect(turn?.failure).toBeNull();
    expect(turn?.sentences.length).toBeGreaterThan(0);
    expect(turn?.sentences.length).toBeLessThan(4);
    expect(dialogue.asking).toBe(false);
  });

  it('does not take the reading of passages for progress of the document', async () => {
    const { backend } = setUp('unread');
    const heard: ReadProgress[] = [];
    const dialogue = new Dialogue(backend, 'd1', { reading: (progress) => heard.push(progress) });
    await dialogue.ask(QUESTION);
    expect(dialogue.turns[0]?.answer?.strategy).toBe('partly_read');
    expect(heard).toEqual([]);
  });

  it('says why it failed, and asks again', async () => {
    const { backend } = setUp();
    backend.broken.set('ask', 'The reading engine was killed.');
    const dialogue = new Dialogue(backend, 'd1');
    await dialogue.ask(QUESTION);
    expect(dialogue.turns[0]?.failure?.message).toContain('was killed');
    backend.broken.clear();
    await dialogue.retry();
    expect(dialogue.turns).toHaveLength(1);
    expect(dialogue.turns[0]?.answer).not.toBeNull();
  });
});
