import { render, screen, waitFor, within } from '@testing-library/svelte';
import userEvent from '@testing-library/user-event';
import { tick } from 'svelte';
import { describe, expect, it, vi } from 'vitest';
import App from './App.svelte';
import { FakeBackend } from './lib/fake/backend';
import { BOHEMIA } from './lib/fake/bohemia';
import { FakeDocument } from './lib/fake/document';
import { byteOffset, utf8Length } from './lib/text/offsets';
import { FORECAST, TITLE, ask, bohemia, faults, open } from './test-window';

describe('the window', () => {
  it('invites to drop a book when the library is empty', async () => {
    const { backend, user } = open();
    expect(await screen.findByRole('heading', { name: 'Drop a book here' })).toBeVisible();
    expect(await faults()).toEqual([]);
    await user.click(await screen.findByRole('button', { name: 'Open the sample book' }));
    expect(await screen.findByRole('textbox', { name: 'Ask a question' })).toBeVisible();
    expect(backend.requests.some((request) => request.method === 'read')).toBe(true);
  });

  it('takes dropped files, and says in place which one is bad and why', async () => {
    const { backend, user } = open();
    await screen.findByRole('heading', { name: 'Drop a book here' });
    backend.drop({ kind: 'over' });
    expect(await screen.findByText('Drop to add to your library')).toBeVisible();
    backend.drop({ kind: 'drop', paths: ['/books/Holmes.txt', '/books/broken.pdf'] });
    expect(await screen.findByText(/broken.pdf is cut off/)).toBeVisible();
    expect(screen.queryByText('Drop to add to your library')).toBeNull();
    expect(await screen.findByRole('heading', { name: 'Holmes' })).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'Dismiss broken.pdf' }));
    expect(screen.queryByText(/broken.pdf is cut off/)).toBeNull();
  });

  it('says that a document may not answer', async () => {
    const { user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    const log = screen.getByRole('log');
    await within(log).findAllByRole('button', { name: /^Evidence \d/ });
    expect(within(log).queryByText(/comes near the question/)).toBeNull();
    await ask(user, 'What is the weather on Mars?');
    expect(await within(log).findByText(/may not answer this/)).toBeVisible();
    expect(await faults()).toEqual([]);
  });

  it('shows what comes nearest where nothing is cited', async () => {
    const { user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    const log = screen.getByRole('log');
    await within(log).findAllByRole('button', { name: /^Evidence \d/ });
    expect(within(log).queryByText('Nearest in the document')).toBeNull();
    await ask(user, 'Did Watson see Venus from Baker Street?');
    const nearest = await within(log).findByRole('region', { name: 'Nearest in the document' });
    const [first] = within(nearest).getAllByRole('button');
    await user.click(first!);
    const shown = await waitFor(() => document.querySelector('[data-highlight="current"]')!);
    expect(first).toHaveTextContent(shown.textContent!.trim().slice(0, 20));
    expect(screen.getByText(/^Nearest 1 of \d/)).toBeVisible();
    expect(await faults()).toEqual([]);
  });

  it('says in which words a question in another language was looked for', async () => {
    const { user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    const log = screen.getByRole('log');
    await within(log).findAllByRole('button', { name: /^Evidence \d/ });
    expect(within(log).queryByText(/Also looked for/)).toBeNull();
    await ask(user, 'Wer hütet den Leuchtturm?');
    expect(await within(log).findByText('Also looked for: Who keeps the lighthouse?')).toBeVisible();
    expect(await faults()).toEqual([]);
  });

  it('takes in a changed file, and links no citation to words that are gone', async () => {
    const { backend, user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    const log = screen.getByRole('log');
    await waitFor(() => expect(backend.conversations.size).toBe(1));
    const before = await within(log).findAllByRole('button', { name: /^Evidence \d/ });
    const [first] = [...backend.conversations.values()][0]!.turns[0]!.sentences.flatMap((s) => s.citations);
    backend.changed.set('d1', first!.quote);
    const now = Date.now() + 60_000;
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now);
    window.dispatchEvent(new Event('focus'));
    clock.mockRestore();
    const update = await screen.findByRole('button', { name: `Update ${TITLE}` });
    expect(await faults()).toEqual([]);
    await user.click(update);
    const gone = await within(log).findAllByRole('button', { name: /^Evidence that is no longer in the document/ });
    expect(await screen.findByText(/is up to date\. What was read of the parts that did not change is kept/)).toBeVisible();
    expect(within(log).getAllByRole('button', { name: /^Evidence \d/ }).length).toBeLessThan(before.length);
    await user.click(gone[0]!);
    expect(document.querySelector('[data-highlight="current"]')).toBeNull();
    expect(screen.queryByRole('button', { name: `Update ${TITLE}` })).toBeNull();
    expect(await faults()).toEqual([]);
  });

  it('asks for the password of an encrypted file until it fits', async () => {
    const { backend, user } = open();
    await screen.findByRole('heading', { name: 'Drop a book here' });
    backend.drop({ kind: 'drop', paths: ['/books/locked.txt'] });
    const field = await screen.findByLabelText(/is encrypted. Its password/);
    await user.type(field, 'wrong{Enter}');
    expect(await screen.findByText('This password does not open it.')).toBeVisible();
    await user.type(screen.getByLabelText(/Its password/), 'open{Enter}');
    expect(await screen.findByRole('heading', { name: 'locked' })).toBeVisible();
  });

  it('offers text recognition for a scanned file, then takes the file', async () => {
    const { backend, user } = open();
    await screen.findByRole('heading', { name: 'Drop a book here' });
    backend.drop({ kind: 'drop', paths: ['/books/scanned.pdf'] });
    await user.click(await screen.findByRole('button', { name: /^Get text recognition \(32 MB\)/ }));
    expect(await screen.findByRole('heading', { name: 'scanned' })).toBeVisible();
    const methods = backend.requests.map((request) => request.method);
    expect(methods.filter((method) => method === 'add')).toHaveLength(2);
    expect(methods.filter((method) => method === 'download_model')).toHaveLength(1);
    expect(screen.queryByRole('button', { name: /text recognition/ })).toBeNull();
    expect(await faults()).toEqual([]);
  });

  it('streams an answer, marks what is not supported in words, and highlights exactly the cited words', async () => {
    const { user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    expect(await screen.findByText('not supported')).toBeVisible();
    expect(screen.getByText('partly supported')).toBeVisible();
    // What claims nothing has no badge, and no second one stands there.
    await waitFor(() => {
      const sentence = screen.getByText('The document does not say why.').closest('[data-state]');
      expect(sentence?.textContent).toBe('The document does not say why.');
    });
    const log = screen.getByRole('log');
    const chip = within(log).getAllByRole('button', { name: /^Evidence 2/ })[0]!;
    await user.hover(chip);
    const quote = (await screen.findByRole('tooltip')).querySelector('.quote')?.textContent ?? '';
    expect(BOHEMIA).toContain(quote);
    await user.click(chip);
    await waitFor(() => {
      const current = [...document.querySelectorAll('[data-highlight="current"]')].map((mark) => mark.textContent);
      expect(current.join('')).toBe(quote);
    });
    expect(screen.getByText(/^Evidence 2 of/)).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'Next evidence' }));
    expect(screen.getByText(/^Evidence 3 of/)).toBeVisible();
    expect(await faults()).toEqual([]);
    await user.click(screen.getByRole('button', { name: 'Clear the highlights' }));
    expect(document.querySelector('[data-highlight]')).toBeNull();
  });

  it('marks beside the scroll bar where the evidence stands, and takes words along with their place', async () => {
    const { user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    const log = await screen.findByRole('log');
    await user.click((await within(log).findAllByRole('button', { name: /^Evidence 1/ }))[0]!);
    await user.click(screen.getByRole('button', { name: 'New conversation' }));
    const marks = [...document.querySelectorAll<HTMLElement>('[data-strip="evidence"]')];
    expect(marks.length).toBeGreaterThan(1);
    await user.click(marks.at(-1)!);
    await waitFor(() => expect(marks.at(-1)).toHaveClass('current'));
    await user.click(screen.getByRole('button', { name: 'Copy the words with their place' }));
    expect(await screen.findByText('Copied with its place.')).toBeVisible();
    const copied = await navigator.clipboard.readText();
    const [, words] = /^“(.*)” \(A Scandal in Bohemia, .+\)$/.exec(copied)!;
    expect(BOHEMIA.replace(/\s+/g, ' ')).toContain(words);
  });

  it('asks about words that are selected', async () => {
    const { user } = open({ documents: [bohemia()] });
    await screen.findByRole('textbox', { name: 'Ask a question' });
    const block = await waitFor(() => {
      const found = document.querySelector('[data-block="1"] p');
      expect(found).not.toBeNull();
      return found!;
    });
    const range = document.createRange();
    range.selectNodeContents(block);
    range.getBoundingClientRect = () => ({ left: 10, right: 110, top: 200, bottom: 220 }) as DOMRect;
    getSelection()!.removeAllRanges();
    getSelection()!.addRange(range);
    document.dispatchEvent(new Event('selectionchange'));
    const bar = await screen.findByRole('toolbar', { name: 'Selected words' });
    expect(await faults()).toEqual([]);
    await user.click(within(bar).getByRole('button', { name: 'Ask about it' }));
    const field = screen.getByRole<HTMLTextAreaElement>('textbox', { name: 'Ask a question' });
    expect(field.value).toBe(`About “${block.textContent!.replace(/\s+/g, ' ').trim().slice(0, 500)}”: `);
    expect(screen.queryByRole('toolbar', { name: 'Selected words' })).toBeNull();
  });

  it('finds the answers that cite selected words', async () => {
    const { backend, user } = open({ documents: [bohemia()] });
    await ask(user, 'When did Watson pass through Baker Street?');
    await waitFor(() => expect(backend.conversations.size).toBe(1));
    const cited = [...backend.conversations.values()][0]!.turns[0]!.sentences.flatMap((s) => s.citations)[0]!;
    const log = screen.getByRole('log');
    await user.click((await within(log).findAllByRole('button', { name: /^Evidence 1/ }))[0]!);
    await user.click(screen.getByRole('button', { name: 'New conversation' }));
    const mark = await waitFor(() => {
      const found = document.querySelector('[data-highlight="current"]');
      expect(found).not.toBeNull();
      return found!;
    });
    const range = document.createRange();
    range.selectNodeContents(mark);
    range.getBoundingClientRect = () => ({ left: 10, right: 110, top: 200, bottom: 220 }) as DOMRect;
    getSelection()!.removeAllRanges();
    getSelection()!.addRange(range);
    document.dispatchEvent(new Event('selectionchange'));
    const bar = await screen.findByRole('toolbar', { name: 'Selected words' });
    await user.click(within(bar).getByRole('button', { name: 'Answers' }));
    const answers = await screen.findByRole('region', { name: 'Answers that cite these words' });
    expect(await faults()).toEqual([]);
    expect(cited.quote).toContain(mark.textContent);
    await user.click(within(answers).getByRole('button', { name: /When did Watson/ }));
    expect(await screen.findByRole('heading', { name: 'When did Watson pass through Baker Street?', level: 2 })).toBeVisible();
    expect(screen.queryByRole('region', { name: 'Answers that cite these words' })).toBeNull();
  });

  it('starts a new line with Shift and Enter', async () => {
    const { user } = open({ documents: [bohemia()] });
    const field = await screen.findByRole('textbox', { name: 'Ask a question' });
    await user.type(field, 'one{Shift>}{Enter}{/Shift}two');
    expect(field).toHaveValue('one\ntwo');
  });

  it('stops an answer', async () => {
    const { user } = open({ documents: [bohemia()], pace: 8 });
    await ask(user, 'When did Watson pass through Baker Street?');
    await user.click(await screen.findByRole('button', { name: 'Stop' }));
    expect(await screen.findByText('You stopped this answer.')).toBeVisible();
    expect(await screen.findByRole('button', { name: 'Send' })).toBeVisible();
  });

  it('says what an answer saw of a document that is too long', async () => {
    const { user } = open({ documents: [bohemia('too_long')] });
    await ask(user, 'Who is Irene Adler?');
    expect(await screen.findByText(/This answer saw 1 passage, .* longer than the model’s window/)).toBeVisible();
  });

  it('answers before a document is read, and says what the answer saw', async () => {
    const { user } = open({ documents: [bohemia('unread')] });
    expect(await screen.findByText('Not read · about 3 min, 19 MB')).toBeVisible();
    expect(screen.getByText(FORECAST.gpu)).toBeVisible();
    await ask(user, 'Who is Irene Adler?');
    expect(await screen.findByText(/This answer saw 1 part, .* still to be read to its end/)).toBeVisible();
  });

  it('offers to choose a model when there is none', async () => {
    const { user } = open({ documents: [bohemia()], model: false });
    await ask(user, 'Who is Irene Adler?');
    await user.click(await screen.findByRole('button', { name: 'Choose a model' }));
    const dialog = await screen.findByRole('dialog', { name: 'Models' });
    await user.click(within(dialog).getByRole('button', { name: 'Go on with SmolLM2 135M Instruct' }));
    expect(await within(dialog).findByText('in use')).toBeVisible();
    expect(await faults()).toEqual([]);
  });

  it('keeps, searches, exports and deletes conversations', async () => {
    const { backend, user } = open({ documents: [bohemia()] });
    await ask(user, 'Who is Irene Adler?');
    const exporting = await screen.findByRole('button', { name: 'Export this conversation' });
    for (const name of [/^Markdown/, /^Web page/, /^PDF/]) {
      await user.click(exporting);
      await user.click(await screen.findByRole('menuitem', { name }));
      await waitFor(() => expect(exporting).toBeEnabled());
    }
    expect(backend.saved.map(({ format, fileName }) => `${format} ${fileName}`)).toEqual([
      'markdown conversation.md',
      'html conversation.html',
      'pdf conversation.pdf',
    ]);
    expect(backend.saved.every(({ text }) => text.includes('Who is Irene Adler?'))).toBe(true);
    // The PDF is printed from the web page.
    expect(backend.saved[2]!.text).toBe(backend.saved[1]!.text);
    // By keyboard: down to the second, and out without choosing.
    exporting.focus();
    await user.keyboard('{Enter}');
    expect(await screen.findByRole('menuitem', { name: /^Web page/ })).toHaveFocus();
    await user.keyboard('{ArrowDown}');
    expect(screen.getByRole('menuitem', { name: /^PDF/ })).toHaveFocus();
    expect(await faults()).toEqual([]);
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('menu')).toBeNull();
    expect(exporting).toHaveFocus();
    await user.click(screen.getByRole('button', { name: 'New conversation' }));
    await user.type(screen.getByRole('searchbox', { name: 'Search conversations' }), 'irene');
    const found = await screen.findByRole('navigation', { name: 'Conversations found' });
    await user.click(await within(found).findByRole('button', { name: /Who is Irene Adler/ }));
    expect(await within(screen.getByRole('log')).findByText('Who is Irene Adler?')).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'Conversations about this document' }));
    await user.click(await screen.findByRole('button', { name: /^Delete the conversation/ }));
    await user.click(await screen.findByRole('button', { name: 'Delete' }));
    await waitFor(() => expect(backend.conversations.size).toBe(0));
  });

  it('shows the last conversation again at the next start, until a new one is begun', async () => {
    const backend = new FakeBackend({ documents: [bohemia()] });
    const start = () => render(App, { props: { backend } });
    const user = userEvent.setup();
    const first = start();
    await ask(user, 'Who is Irene Adler?');
    await screen.findByRole('button', { name: 'Export this conversation' });
    first.unmount();
    const second = start();
    expect(await within(await screen.findByRole('log')).findByText('Who is Irene Adler?')).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'New conversation' }));
    second.unmount();
    start();
    await screen.findByRole('textbox', { name: 'Ask a question' });
    await tick();
    expect(screen.queryByText('Who is Irene Adler?')).toBeNull();
  });

  it('does not go on at the next start with reading that was paused', async () => {
    const document = bohemia('unread');
    document.summary.reading = { state: 'partly', tokens: 100, total: 90_000 };
    const backend = new FakeBackend({ documents: [document], pace: 25 });
    const call = vi.spyOn(backend, 'call');
    const reads = () => call.mock.calls.filter(([request]) => request.method === 'read').length;
    const user = userEvent.setup();
    const first = render(App, { props: { backend } });
    await user.click(await screen.findByRole('button', { name: `Pause reading ${TITLE}` }));
    await screen.findByRole('button', { name: `Go on reading ${TITLE}` });
    expect(reads()).toBe(1);
    first.unmount();
    const second = render(App, { props: { backend } });
    await user.click(await screen.findByRole('button', { name: `Go on reading ${TITLE}` }));
    expect(reads()).toBe(2);
    second.unmount();
    // What the person took up again goes on by itself.
    render(App, { props: { backend } });
    await waitFor(() => expect(reads()).toBe(3));
  });

  it('goes where links lead, at the start and later, and says why if they lead nowhere', async () => {
    const document = bohemia();
    const words = 'To Sherlock Holmes she is always the woman.';
    const start = byteOffset(document.text, document.text.indexOf(words));
    const link = `lectern://open/${document.summary.id}?start=${start}&end=${start + utf8Length(words)}`;
    const backend = new FakeBackend({ documents: [document] });
    backend.named = { paths: [], links: [link] };
    render(App, { backend });
    const evidence = await screen.findByRole('toolbar', { name: 'Evidence' });
    expect(within(evidence).getByRole('status')).toHaveTextContent('Evidence 1 of 1');
    expect(window.document.querySelector('[data-highlight=current]')).toHaveTextContent(words);
    for (const hostile of ['lectern://open/nothing?start=0&end=9', 'https://example.org', `${link}999999`]) {
      const before = backend.requests.length;
      backend.startAgain({ paths: [], links: [hostile] });
      const dismiss = await screen.findByRole('button', { name: 'Dismiss' });
      // It was asked about, and nothing else was done.
      expect(backend.requests.slice(before)).toEqual([{ method: 'follow', params: { link: hostile } }]);
      await userEvent.click(dismiss);
    }
    expect(within(evidence).getByRole('status')).toHaveTextContent('Evidence 1 of 1');
  });

  it('removes a document only after asking', async () => {
    const { backend, user } = open({ documents: [bohemia()] });
    await user.click(await screen.findByRole('button', { name: `Remove ${TITLE}` }));
    await user.click(await screen.findByRole('button', { name: 'Cancel' }));
    expect(backend.documents).toHaveLength(1);
    await user.click(screen.getByRole('button', { name: `Remove ${TITLE}` }));
    await user.click(await screen.findByRole('button', { name: 'Remove' }));
    expect(await screen.findByRole('heading', { name: 'Drop a book here' })).toBeVisible();
  });

  it('finds words and steps through them', async () => {
    const { user } = open({ documents: [bohemia()] });
    await screen.findByRole('heading', { name: TITLE, level: 1 });
    await user.keyboard('{Control>}f{/Control}');
    await user.type(await screen.findByRole('searchbox', { name: 'Find in this document' }), 'holmes');
    const all = BOHEMIA.match(/holmes/gi)!.length;
    expect(await screen.findByText(`1 of ${all}`)).toBeVisible();
    await user.keyboard('{Enter}');
    expect(await screen.findByText(`2 of ${all}`)).toBeVisible();
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('searchbox', { name: 'Find in this document' })).toBeNull();
  });

  it('shows its keys, keeps settings, changes its looks', async () => {
    const { backend, user } = open({ documents: [bohemia()] });
    await screen.findByRole('heading', { name: TITLE, level: 1 });
    await user.click(screen.getByRole('heading', { name: TITLE, level: 1 }));
    await user.keyboard('?');
    expect(await screen.findByRole('dialog', { name: 'Keyboard' })).toBeVisible();
    await user.click(screen.getByRole('button', { name: 'Close' }));
    await user.click(screen.getByRole('button', { name: 'Settings' }));
    const length = await screen.findByLabelText(/Length of an answer/);
    expect(await faults()).toEqual([]);
    await user.clear(length);
    await user.type(length, '512');
    await user.selectOptions(screen.getByLabelText(/How finely/), '8/8');
    await user.selectOptions(screen.getByLabelText(/How much of it is kept/), '60 %: little is lost');
    await user.selectOptions(screen.getByLabelText(/longer than the model/), 'passages');
    await user.clear(screen.getByLabelText(/looks at/));
    await user.type(screen.getByLabelText(/looks at/), '4096');
    await user.click(screen.getByLabelText(/Answer in full/));
    await user.click(screen.getByRole('button', { name: 'Save' }));
    await waitFor(() => expect(backend.settings.max_answer_tokens).toBe(512));
    expect(backend.settings).toMatchObject({ full_answers: true, kv_format: '8/8', kept_percent: 60, attention_tokens: 4096, beyond_window: 'passages' });
    await user.click(screen.getByRole('button', { name: /^Appearance/ }));
    await user.click(screen.getByRole('button', { name: /^Appearance/ }));
    expect(document.documentElement.dataset.theme).toBe('dark');
  });

  it('says that what was read is being made smaller, and that this can be stopped', async () => {
    const { backend, user } = open({ documents: [bohemia('unread')], pace: 10 });
    backend.settings.kept_percent = 60;
    await user.click(await screen.findByRole('button', { name: `Read ${TITLE}` }));
    expect(await screen.findByText(/Making smaller \d+ %/, {}, { timeout: 8000 })).toBeVisible();
    expect(await faults()).toEqual([]);
    await user.click(screen.getByRole('button', { name: `Stop making smaller ${TITLE}` }));
    expect(await screen.findByText('Read')).toBeVisible();
    expect(screen.queryByText(/Making smaller/)).toBeNull();
    await user.click(screen.getByRole('button', { name: `Make smaller what was read of ${TITLE}` }));
    expect(await screen.findByText(/Making smaller \d+ %/)).toBeVisible();
    await waitFor(() => expect(screen.queryByRole('button', { name: /Make smaller|Stop making/ })).toBeNull(), { timeout: 8000 });
    expect(screen.getByText('Read')).toBeVisible();
  });

  it('survives the end of the engine', async () => {
    const { backend } = open({ documents: [bohemia()] });
    await screen.findByRole('heading', { name: TITLE, level: 1 });
    backend.stopEngine('The reading engine was killed, perhaps because memory ran out.');
    await tick();
    expect(await screen.findByText(/perhaps because memory ran out/)).toBeVisible();
    expect(screen.getByRole('heading', { name: TITLE, level: 1 })).toBeVisible();
  });

  it('says when the engine cannot be started, and tries again', async () => {
    const backend = new FakeBackend({ documents: [bohemia()] });
    backend.broken.set('library', 'The reading engine /usr/bin/lectern cannot be started.');
    render(App, { props: { backend } });
    expect(await screen.findByText(/cannot be started/)).toBeVisible();
    backend.broken.clear();
    await userEvent.setup().click(screen.getByRole('button', { name: 'Try again' }));
    expect(await screen.findByRole('heading', { name: TITLE, level: 1 })).toBeVisible();
  });
});
