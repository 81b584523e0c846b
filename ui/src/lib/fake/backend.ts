/**
 * A backend without an engine: it holds a few real texts and behaves like the protocol (streams, progress, cancel,
 * failures), so that the window can be tested, and looked at in a plain browser.
 */
import type {
  Answer,
  Added,
  Citation,
  Endpoint,
  Event,
  ModelEntry,
  Opened,
  Outcome,
  Request,
  RunsOn,
  SaveFormat,
  Settings,
} from '../bindings';
import { CallFailed, type Backend, type CallOptions, type Drop, type OutcomeOf, type Unlisten } from '../backend';
import { answers } from '../state/models.svelte';
import { fileName } from '../text/format';
import { BOHEMIA } from './bohemia';
import { FakeDocument } from './document';
import { MODELS } from './models';

export interface FakeBackendOptions {
  documents?: FakeDocument[];
  /** Milliseconds between events. */
  pace?: number;
  /** Whether a model is installed. */
  model?: boolean;
}

export class FakeBackend implements Backend {
  readonly documents: FakeDocument[];
  readonly requests: Request[] = [];
  readonly saved: { format: SaveFormat; fileName: string; text: string }[] = [];
  /** What the command line of this start names. */
  named: Opened = { paths: [], links: [] };
  models: ModelEntry[];
  /** Paths that `pick` gives. */
  picked: string[] = ['/home/reader/A Scandal in Bohemia.txt'];
  /** Fails every call of a method with this message, until it is taken away. */
  readonly broken = new Map<Request['method'], string>();
  /** Documents whose source has changed, with the words that are gone from them. */
  readonly changed = new Map<string, string>();
  settings: Required<Settings> = {
    model: null,
    threads: 0,
    idle_minutes: 15,
    cache_budget_bytes: 20 * 2 ** 30,
    read_when_added: true,
    max_answer_tokens: 256,
    retrieval_tokens: 2048,
    kv_format: 'auto',
    kept_percent: 100,
    read_on_battery: false,
    full_answers: false,
    stretch: 1,
    whole_tokens: 0,
    beyond_window: 'read',
    attention_tokens: 2048,
    attention_choice: 'keys',
    endpoint: { on: false, url: '', model: '', document_tokens: 6144 },
  };
  /** The key that is kept, and for which server. */
  key: { host: string; key: string } | null = null;
  readonly conversations = new Map<string, { document: string; turns: Answer[]; updated: number }>();
  readonly #pace: number;
  #steps = 0;
  #drop: ((drop: Drop) => void)[] = [];
  #stopped: ((message: string) => void)[] = [];
  #later: ((opened: Opened) => void)[] = [];

  constructor(options: FakeBackendOptions = {}) {
    this.documents = options.documents ?? [];
    this.#pace = options.pace ?? 0;
    const model = options.model ?? true;
    this.models = MODELS.map((entry) => (model ? { ...entry } : { ...entry, installed: false, current: false }));
  }

  async call<R extends Request>(request: R, options: CallOptions = {}): Promise<OutcomeOf<R['method']>> {
    this.requests.push(request);
    const broken = this.broken.get(request.method);
    if (broken) throw new CallFailed({ code: 'other', message: broken, advice: 'Try again.' });
    return (await this.#work(request, options)) as OutcomeOf<R['method']>;
  }

  async #step({ signal, onEvent }: CallOptions, event?: Event, pace = this.#pace): Promise<void> {
    // Without a pace, events come in bursts, as they do from a fast engine.
    if (pace > 0 || this.#steps++ % 8 === 0) await new Promise((done) => setTimeout(done, pace));
    if (signal?.aborted) {
      throw new CallFailed({ code: 'cancelled', message: 'Cancelled.', advice: null });
    }
    if (event) onEvent?.(event);
  }

  #document(id: string): FakeDocument {
    const document = this.documents.find((other) => other.summary.id === id);
    if (document) return document;
    throw new CallFailed({ code: 'not_found', message: `No document ${id} is in the library.`, advice: null });
  }

  async #work(request: Request, options: CallOptions): Promise<Outcome> {
    switch (request.method) {
      case 'hello':
        return { kind: 'hello', protocol: 3, version: '0.1.0', home: '/home/reader', model: null };
      case 'library':
        return { kind: 'library', documents: this.documents.map((document) => ({ ...document.summary })) };
      case 'add':
        return { kind: 'added', added: await this.#add(request.params.paths, request.params.password, options) };
      case 'remove': {
        const at = this.documents.indexOf(this.#document(request.params.document));
        this.documents.splice(at, 1);
        return { kind: 'done' };
      }
      case 'changes':
        return {
          kind: 'changes',
          changes: [...this.changed.keys()].map((document) => ({ document, state: 'changed' as const })),
        };
      case 'refresh':
        return this.#refresh(request.params.document);
      case 'read':
        return this.#read(this.#document(request.params.document), options);
      case 'ask':
        return this.#ask(request.params, options);
      case 'conversations': {
        const { document, query } = request.params;
        const words = query?.toLowerCase() ?? '';
        const conversations = [...this.conversations]
          .filter(([, kept]) => !document || kept.document === document)
          .filter(([, kept]) => JSON.stringify(kept.turns).toLowerCase().includes(words))
          .map(([id, kept]) => ({
            id,
            document: kept.document,
            title: kept.turns[0]?.question ?? '',
            turns: kept.turns.length,
            updated: kept.updated,
          }))
          .reverse();
        return { kind: 'conversations', conversations };
      }
      case 'cited_by': {
        const { document, span } = request.params;
        const answers = [...this.conversations].flatMap(([conversation, kept]) =>
          kept.turns.flatMap((turn, index) => {
            const citing = turn.sentences.find((sentence) =>
              sentence.citations.some(
                (citation) => !citation.gone && citation.start < span.end && span.start < citation.end,
              ),
            );
            if (kept.document !== document || !citing) return [];
            return [{ conversation, turn: index, question: turn.question, sentence: citing.text }];
          }),
        );
        return { kind: 'cited_by', answers };
      }
      case 'conversation': {
        const { conversation: id } = request.params;
        const kept = this.conversations.get(id)!;
        return { kind: 'conversation', conversation: { id, document: kept.document, turns: kept.turns } };
      }
      case 'delete_conversation':
        this.conversations.delete(request.params.conversation);
        return { kind: 'done' };
      case 'export': {
        const kept = this.conversations.get(request.params.conversation)!;
        const markdown = kept.turns.map((turn) => `## ${turn.question}\n\n${turn.answer}\n`).join('\n');
        const html = request.params.format === 'html';
        return {
          kind: 'exported',
          file_name: html ? 'conversation.html' : 'conversation.md',
          text: html ? `<!doctype html><pre>${markdown}</pre>` : markdown,
        };
      }
      case 'follow':
        return { kind: 'followed', citation: this.#follow(request.params.link) };
      case 'outline':
        return { kind: 'outline', outline: this.#document(request.params.document).outline() };
      case 'content': {
        const { document, first, count } = request.params;
        return { kind: 'content', blocks: this.#document(document).content(first, count) };
      }
      case 'locate': {
        const document = this.#document(request.params.document);
        return { kind: 'located', anchors: request.params.spans.map((span) => document.anchor(span)) };
      }
      case 'find': {
        const spans = this.#document(request.params.document).find(request.params.query);
        return { kind: 'found', spans, more: spans.length === 1000 };
      }
      case 'original':
        return { kind: 'original', path: '/fake', media_type: 'application/pdf' };
      case 'models':
        return { kind: 'models', models: this.models.map((model) => ({ ...model })) };
      case 'download_model':
        return this.#download(request.params.name, options);
      case 'import_model':
        return { kind: 'models', models: this.models };
      case 'settings':
        return { kind: 'settings', settings: { ...this.settings } };
      case 'change_settings': {
        this.settings = { ...this.settings, ...request.params.settings };
        for (const model of this.models) model.current = model.name === this.settings.model;
        return { kind: 'settings', settings: { ...this.settings } };
      }
      case 'describe_endpoint':
        return this.#describe(request.params.endpoint);
      case 'keep_endpoint_key': {
        const { endpoint, key } = request.params;
        this.key = key === null ? null : { host: new URL(endpoint.url ?? '').host, key };
        return this.#describe(endpoint);
      }
      case 'storage':
        return { kind: 'storage', cache_bytes: 420_000_000, library_bytes: 31_000_000, free_bytes: 80_000_000_000 };
      case 'forget':
        this.#document(request.params.document).summary.reading = { state: 'unread' };
        return { kind: 'done' };
      case 'cancel':
        return { kind: 'done' };
    }
  }

  #describe(endpoint: Endpoint): Outcome {
    const url = URL.parse(endpoint.url ?? '');
    if (!url?.protocol.startsWith('http')) {
      throw new CallFailed({ code: 'other', message: `"${endpoint.url}" cannot be the address of a server.`, advice: null });
    }
    const encrypted = url.protocol === 'https:';
    const loopback = url.hostname === '127.0.0.1';
    const sends = [`Each question goes to ${url.host}, with up to ${endpoint.document_tokens} tokens of the document.`];
    if (!encrypted && !loopback) sends.push('The connection is not encrypted.');
    return {
      kind: 'endpoint',
      endpoint: { host: url.host, url: url.href, loopback, encrypted, has_key: this.key?.host === url.host, sends },
    };
  }

  /** Knows documents, spans and nothing of fingerprints. */
  #follow(link: string): Citation {
    const found = /^lectern:\/\/open\/(\w+)\?start=(\d+)&end=(\d+)$/.exec(link);
    if (!found) throw new CallFailed({ code: 'other', message: `"${link}" is not a link into Lectern.`, advice: null });
    const document = this.#document(found[1]!);
    const span = { start: Number(found[2]), end: Number(found[3]) };
    const quote = document.quote(span);
    if (quote === '') throw new CallFailed({ code: 'not_found', message: 'The link names no words.', advice: null });
    return { document: found[1]!, ...span, quote, anchor: document.anchor(span), score: 1, gone: false };
  }

  /** Marks the citations whose words are gone, as the engine does. */
  #refresh(id: string): Outcome {
    const { summary } = this.#document(id);
    const words = this.changed.get(id);
    let [kept, gone] = [0, 0];
    for (const conversation of this.conversations.values()) {
      if (conversation.document !== id) continue;
      for (const citation of conversation.turns.flatMap((turn) => turn.sentences.flatMap((s) => s.citations))) {
        if (words !== undefined && citation.quote.includes(words)) {
          Object.assign(citation, { gone: true, start: 0, end: 0 });
          gone += 1;
        } else kept += 1;
      }
    }
    this.changed.delete(id);
    return {
      kind: 'refreshed',
      refreshed: {
        document: { ...summary },
        state: words === undefined ? 'unchanged' : 'updated',
        unchanged_bytes: Math.floor(summary.text_bytes / 2),
        citations_kept: kept,
        citations_gone: gone,
      },
    };
  }

  async #add(paths: string[], password: string | null, options: CallOptions): Promise<Added[]> {
    const added: Added[] = [];
    for (const path of paths) {
      const progress = { kind: 'ingest' as const, path, fraction: null };
      await this.#step(options, { ...progress, stage: 'queued' });
      await this.#step(options, { ...progress, stage: 'extracting', fraction: 0.5 });
      if (path.includes('scanned')) {
        const pages = { done: 3, total: 9, seconds_left: 60 };
        await this.#step(options, { ...progress, stage: 'recognising', fraction: 1 / 3, pages });
      }
      await this.#step(options, { ...progress, stage: 'finished' });
      added.push(this.#added(path, password));
    }
    return added;
  }

  #added(path: string, password: string | null): Added {
    const fail = (code: 'password_needed' | 'recogniser_missing' | 'other', message: string, advice: string): Added => ({
      path,
      document: null,
      known: false,
      failure: { code, message, advice },
    });
    if (path.includes('broken')) {
      return fail('other', `${fileName(path)} is cut off: its table of contents is missing.`, 'Copy or download the file again.');
    }
    if (path.includes('locked') && password !== 'open') {
      return fail('password_needed', `${fileName(path)} is encrypted.`, 'Give its password.');
    }
    if (path.includes('scanned') && !this.models.some((model) => model.name === 'ocr' && model.installed)) {
      return fail('recogniser_missing', `${fileName(path)} holds no text.`, 'Get text recognition.');
    }
    const title = fileName(path).replace(/\.\w+$/, '');
    const known = this.documents.find((document) => document.summary.title === title);
    if (known) return { path, document: { ...known.summary }, known: true, failure: null };
    const id = `d${this.documents.length + 1}${title.length}`;
    const format = path.endsWith('.pdf') ? 'pdf' : 'text';
    const document = new FakeDocument({ id, title, format, text: BOHEMIA });
    this.documents.unshift(document);
    return { path, document: { ...document.summary }, known: false, failure: null };
  }

  async #read(document: FakeDocument, options: CallOptions): Promise<Outcome> {
    const total = document.tokens;
    const state = document.summary.reading;
    let tokens = state.state === 'partly' ? state.tokens : state.state === 'unread' ? 0 : total;
    const tell = (tokens: number, making_smaller: boolean) =>
      this.#step(options, {
        kind: 'reading',
        tokens,
        total,
        tokens_per_s: 55,
        seconds_left: (total - tokens) / 55,
        cache_bytes: tokens * 14_336,
        waiting: false,
        making_smaller,
      }, this.#pace * 6);
    while (tokens < total) {
      tokens = Math.min(total, tokens + Math.ceil(total / 40));
      await tell(tokens, false);
      document.summary.reading = { state: 'partly', tokens, total };
    }
    if (state.state !== 'too_long') {
      document.summary.reading = { state: 'read', tokens: total, cache_bytes: total * 14_336 };
    }
    const kept = (this.settings.kept_percent ?? 100) / 100;
    if (kept < 1 && document.summary.reading.state === 'read') {
      for (let share = 0; share <= 1; share += 0.1) await tell(Math.round(share * total), true);
      document.summary.reading = { state: 'read', tokens: total, cache_bytes: total * 14_336 * kept };
    }
    return { kind: 'read', document: { ...document.summary } };
  }

  async #ask(ask: Extract<Request, { method: 'ask' }>['params'], options: CallOptions): Promise<Outcome> {
    const document = this.#document(ask.document);
    const { endpoint } = this.settings;
    if (!endpoint.on && !this.models.some((model) => model.current && model.installed)) {
      throw new CallFailed({
        code: 'model_missing',
        message: 'No model is installed.',
        advice: 'Download one in the model panel, or import a GGUF file.',
      });
    }
    const nearest = ask.question.includes('Venus') ? document.nearest(ask.question) : [];
    const sentences = nearest.length > 0 ? [document.refusal()] : document.answer(ask.question);
    const strategies = {
      too_long: 'retrieved_passages',
      partly: 'partly_read',
      unread: 'partly_read',
      read: 'whole_document',
    } as const;
    const strategy = endpoint.on ? 'endpoint' : strategies[document.summary.reading.state];
    const answer = sentences.map((sentence) => sentence.text).join(' ');
    const id = ask.conversation ?? `c${this.conversations.size + 1}`;
    const whole = (said: number, stopped: boolean): Answer => ({
      question: ask.question,
      answer: sentences.slice(0, said).map((sentence) => sentence.text).join(' '),
      sentences: sentences.slice(0, said),
      coverage: [{ start: 0, end: Math.min(document.summary.text_bytes, 9000) }],
      timings: { first_token_ms: 820, tokens: answer.length / 4, decode_tokens_per_s: 9.5, read_tokens: 0, read_s: 0, cite_s: 0.1 },
      model: endpoint.on ? `${endpoint.model} at ${new URL(endpoint.url ?? '').host}` : 'qwen2.5-1.5b',
      strategy,
      conversation: id,
      stopped,
      far: ask.question.includes('Mars'),
      nearest,
      looked_for: ask.question.startsWith('Wer') ? 'Who keeps the lighthouse?' : undefined,
    });
    const keep = (kept: Answer): Outcome => {
      const turns = this.conversations.get(id)?.turns ?? [];
      this.conversations.delete(id);
      this.conversations.set(id, { document: ask.document, turns: [...turns, kept], updated: 1_790_000_000 });
      return { kind: 'answer', answer: kept };
    };
    let said = 0;
    try {
      if (!endpoint.on) await this.#step(options, { kind: 'stage', stage: 'loading_model' });
      if (endpoint.on) {
        await this.#step(options, { kind: 'stage', stage: 'retrieving' });
        await this.#step(options, { kind: 'stage', stage: 'waiting_for_endpoint' }, this.#pace * 8);
      } else if (strategy !== 'whole_document') {
        await this.#step(options, { kind: 'stage', stage: 'retrieving' });
        await this.#step(options, { kind: 'stage', stage: 'reading_passages' });
        await this.#step(options, {
          kind: 'reading',
          tokens: 600,
          total: 600,
          tokens_per_s: 55,
          seconds_left: 0,
          cache_bytes: 0,
          waiting: false,
          making_smaller: false,
        });
      }
      if (!endpoint.on) await this.#step(options, { kind: 'stage', stage: 'reading_question' }, this.#pace * 8);
      await this.#step(options, { kind: 'stage', stage: 'answering' });
      for (const [index, sentence] of sentences.entries()) {
        const words = (index > 0 ? ` ${sentence.text}` : sentence.text).match(/\s*\S+/g) ?? [];
        for (const text of words) await this.#step(options, { kind: 'token', text });
        await this.#step(options, { kind: 'sentence', index, sentence });
        said = index + 1;
      }
      await this.#step(options, { kind: 'stage', stage: 'citing' });
    } catch (thrown) {
      if (said > 0) return keep(whole(said, true));
      throw thrown;
    }
    return keep(whole(sentences.length, false));
  }

  async #download(name: string, options: CallOptions): Promise<Outcome> {
    const model = this.models.find((other) => other.name === name)!;
    while (model.partial_bytes < model.bytes) {
      model.partial_bytes = Math.min(model.bytes, model.partial_bytes + Math.ceil(model.bytes / 30));
      const { partial_bytes: bytes, bytes: total } = model;
      await this.#step(options, { kind: 'download', name, bytes, total, bytes_per_s: 8e6, verifying: bytes === total });
    }
    model.partial_bytes = 0;
    model.installed = true;
    if (!this.models.some((other) => other.current) && answers(model)) model.current = true;
    return { kind: 'done' };
  }

  async pick(): Promise<string[]> {
    return this.picked;
  }

  async saveExport(format: SaveFormat, fileName: string, text: string): Promise<string> {
    this.saved.push({ format, fileName, text });
    return `/home/reader/${fileName}`;
  }

  async originalSize(document: string): Promise<number> {
    return this.#document(document).file().length;
  }

  async readOriginal(document: string, offset: number, length: number): Promise<ArrayBuffer> {
    return this.#document(document).file().slice(offset, offset + length).buffer as ArrayBuffer;
  }

  async runsOn(): Promise<RunsOn> {
    return { gpu: false, words: 'no NVIDIA driver was found' };
  }

  async samplePath(): Promise<string> {
    return '/usr/share/lectern/A Scandal in Bohemia.txt';
  }

  async opened(): Promise<Opened> {
    const opened = this.named;
    this.named = { paths: [], links: [] };
    return opened;
  }

  onOpenLater(listener: (opened: Opened) => void): Unlisten {
    this.#later.push(listener);
    return () => (this.#later = this.#later.filter((other) => other !== listener));
  }

  onDrop(listener: (drop: Drop) => void): Unlisten {
    this.#drop.push(listener);
    return () => (this.#drop = this.#drop.filter((other) => other !== listener));
  }

  onEngineStopped(listener: (message: string) => void): Unlisten {
    this.#stopped.push(listener);
    return () => (this.#stopped = this.#stopped.filter((other) => other !== listener));
  }

  /** What the system would do when files are held over the window or dropped. */
  drop(drop: Drop): void {
    for (const listener of this.#drop) listener(drop);
  }

  /** What the system would do when the program is started a second time. */
  startAgain(opened: Opened): void {
    for (const listener of this.#later) listener(opened);
  }

  stopEngine(message: string): void {
    for (const listener of this.#stopped) listener(message);
  }
}
