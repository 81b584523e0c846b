/** Everything the window knows while it is open; components find it in the context. */
import { getContext, setContext } from 'svelte';
import type {
  Citation,
  ConversationSummary,
  DocumentSummary,
  Opened,
  Refreshed,
  SaveFormat,
  TextSpan,
} from '../bindings';
import { failureOf, type Backend, type Drop } from '../backend';
import { bytes } from '../text/format';
import { copy, withReference } from '../text/reference';
import { Dialogue } from './conversation.svelte';
import { Library } from './library.svelte';
import { Models } from './models.svelte';
import { Notices } from './notices.svelte';
import { Preferences } from './preferences.svelte';
import { focusPane } from './panes';
import { type EvidenceName, Viewer } from './viewer.svelte';

/** Characters of selected words that go into a question. */
const LONGEST_ASKED = 500;

/** Milliseconds between two looks at the sources of documents. */
const CHECK_AGAIN = 20_000;

/** Dialogs, of which one is open at a time. */
export type Sheet =
  | { kind: 'models' }
  | { kind: 'settings' }
  | { kind: 'help' }
  | { kind: 'password'; path: string; wrong: boolean }
  | { kind: 'confirm'; title: string; text: string; action: string; run: () => Promise<void> | void };

export class Session {
  readonly notices = new Notices();
  readonly preferences = new Preferences();
  readonly library: Library;
  readonly models: Models;
  sheet = $state<Sheet | null>(null);
  selected = $state<string | null>(null);
  viewer = $state.raw<Viewer | null>(null);
  dialogue = $state.raw<Dialogue | null>(null);
  /** Conversations of the document that is open. */
  conversations = $state.raw<ConversationSummary[]>([]);
  dropping = $state(false);
  sample = $state<string | null>(null);
  /** When sources were last looked at. */
  #checked = 0;
  #dialogues = new Map<string, Dialogue>();
  #viewers = new Map<string, Viewer>();

  constructor(readonly backend: Backend) {
    this.library = new Library(backend, this.notices);
    this.models = new Models(backend, this.notices);
    // Another model has read other documents.
    this.models.onChanged = () => void this.library.refresh();
    this.models.onEmbedder = () => void this.#prepareToFind();
    this.library.onRefreshed = (refreshed) => this.#refreshed(refreshed);
    this.library.onPaused = (id, paused) => this.preferences.setPaused(id, paused);
    this.library.onAdded = (document) => {
      if (this.models.settings?.read_when_added && this.models.current) {
        void this.library.read(document.id);
      }
    };
  }

  /** Documents that were read without it are gone through by what finds passages by their meaning. */
  async #prepareToFind(): Promise<void> {
    if (!this.models.settings?.read_when_added || !this.models.current) return;
    const read = this.library.documents.filter(({ reading }) => reading.state === 'read' || reading.state === 'too_long');
    for (const { id } of read) await this.library.read(id);
  }

  get document(): DocumentSummary | null {
    return this.library.find(this.selected);
  }

  /** Loads what the last start left, and takes up what it was doing. Gives a way to stop listening. */
  start(): () => void {
    const stops = [
      this.backend.onDrop((drop) => this.#drop(drop)),
      this.backend.onOpenLater((opened) => void this.#openAll(opened)),
      this.backend.onEngineStopped((message) => {
        this.notices.fail({ message, advice: 'It is started again; what was read is kept.' });
        void this.#refresh();
      }),
    ];
    // Whoever comes back from an editor may have changed a file.
    const look = () => void this.#checkSources();
    window.addEventListener('focus', look);
    stops.push(() => window.removeEventListener('focus', look));
    void this.#begin();
    return () => stops.forEach((stop) => stop());
  }

  async #begin(): Promise<void> {
    await this.#refresh();
    if (this.library.failure) return;
    const last = this.library.find(this.preferences.values.document) ?? this.library.documents[0];
    if (last) this.open(last.id);
    void this.#checkSources();
    try {
      this.sample = await this.backend.samplePath();
      await this.#openAll(await this.backend.opened());
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
    if (this.models.settings?.read_when_added && this.models.current) {
      for (const document of this.library.documents) {
        const paused = this.preferences.values.paused.includes(document.id);
        if (document.reading.state === 'partly' && !paused) void this.library.read(document.id);
      }
    }
  }

  /** Takes in the files that a start of the program names, and goes where its links lead. */
  async #openAll({ paths, links }: Opened): Promise<void> {
    await this.add(paths);
    for (const link of links) await this.followLink(link);
  }

  /** Shows the words that a `lectern://` link names; says why if there are none. */
  async followLink(link: string): Promise<void> {
    try {
      const { citation } = await this.backend.call({ method: 'follow', params: { link } });
      // Another window, or the command line, may have added it since.
      if (!this.library.find(citation.document)) await this.library.refresh();
      this.showEvidence([citation], 0, []);
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }

  async #checkSources(): Promise<void> {
    const now = Date.now();
    if (now - this.#checked < CHECK_AGAIN || this.library.documents.length === 0) return;
    this.#checked = now;
    await this.library.check();
  }

  /** Takes in what has changed in a document's file or folder, and says what became of it. */
  async update(document: DocumentSummary): Promise<void> {
    const { id } = document;
    const refreshed = await this.library.update(id);
    if (!refreshed) return;
    if (refreshed.state !== 'updated') {
      const why = refreshed.state === 'missing' ? 'Its file is not where it was.' : 'It has not changed.';
      this.notices.say(`“${document.title}”: ${why}`);
      return;
    }
    await this.#refreshed(refreshed);
  }

  /** A document has a new version: what is shown of it is fetched again. */
  async #refreshed(refreshed: Refreshed): Promise<void> {
    const { id } = refreshed.document;
    this.notices.say(updateInWords(refreshed));
    this.preferences.forgetPosition(id);
    this.#viewers.delete(id);
    const dialogue = this.#dialogues.get(id);
    if (this.selected === id) {
      this.viewer = null;
      this.open(id);
    }
    try {
      // Its citations have moved.
      if (dialogue?.conversation) await dialogue.open(dialogue.conversation);
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
    if (this.models.settings?.read_when_added && this.models.current) void this.library.read(id);
  }

  async #refresh(): Promise<void> {
    await this.library.refresh();
    if (!this.library.failure) await this.models.refresh();
  }

  /** After a start that failed. */
  async tryAgain(): Promise<void> {
    await this.#begin();
  }

  #drop(drop: Drop): void {
    this.dropping = drop.kind === 'over';
    if (drop.kind === 'drop') void this.add(drop.paths);
  }

  /** Adds each path by itself: one whose pages are recognised for an hour keeps no other waiting. */
  async add(paths: string[], password: string | null = null): Promise<void> {
    let opened = false;
    const one = async (path: string) => {
      const [first] = await this.library.add([path], password);
      if (first && !opened) {
        opened = true;
        this.open(first.id);
      }
      this.#askForPassword([path], password);
    };
    await Promise.all(paths.map(one));
  }

  /** Gets what recognises scanned pages if it is not here, and adds a file that has some. */
  async recognise(path: string): Promise<void> {
    const recogniser = this.models.recogniser;
    if (!recogniser) return;
    if (!recogniser.installed) await this.models.download(recogniser.name);
    if (this.models.recogniser?.installed) await this.add([path]);
  }

  #askForPassword(paths: string[], password: string | null): void {
    const locked = this.library.arrivals.find(
      (arrival) => paths.includes(arrival.path) && arrival.failure?.code === 'password_needed',
    );
    if (locked && !this.sheet) {
      this.sheet = { kind: 'password', path: locked.path, wrong: password !== null };
    }
  }

  async pick(kind: 'files' | 'folder'): Promise<void> {
    try {
      await this.add(await this.backend.pick(kind));
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }

  open(id: string): void {
    const document = this.library.find(id);
    if (!document || (this.selected === id && this.viewer)) return;
    this.selected = id;
    this.preferences.set('document', id);
    let viewer = this.#viewers.get(id);
    if (!viewer) {
      viewer = new Viewer(this.backend, document);
      this.#viewers.set(id, viewer);
      void viewer.load();
    }
    this.viewer = viewer;
    this.dialogue = this.#dialogueOf(id);
    void this.refreshConversations();
  }

  #dialogueOf(id: string): Dialogue {
    let dialogue = this.#dialogues.get(id);
    if (!dialogue) {
      dialogue = new Dialogue(this.backend, id, {
        reading: (progress) => this.library.progress(id, progress),
        notice: (message) => this.notices.say(message),
        answered: () => {
          void this.library.refresh();
          if (this.selected === id) void this.refreshConversations();
        },
        shown: (conversation) => this.preferences.keepConversation(id, conversation),
      });
      this.#dialogues.set(id, dialogue);
      const last = this.preferences.conversation(id);
      // It may have been deleted elsewhere: then the document is shown without one.
      if (last) void dialogue.open(last).catch(() => {});
    }
    return dialogue;
  }

  async refreshConversations(): Promise<void> {
    const document = this.selected;
    if (!document) return;
    try {
      const params = { document, query: null };
      const { conversations } = await this.backend.call({ method: 'conversations', params });
      if (document === this.selected) this.conversations = conversations;
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }

  async openConversation(summary: Pick<ConversationSummary, 'id' | 'document'>): Promise<void> {
    this.open(summary.document);
    this.preferences.set('conversationOpen', true);
    try {
      await this.dialogue?.open(summary.id);
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }

  confirmDeleteConversation(summary: { id: string; title: string }): void {
    this.sheet = {
      kind: 'confirm',
      title: 'Delete this conversation?',
      text: `“${summary.title}” and its answers will be gone. The document stays.`,
      action: 'Delete',
      run: async () => {
        const params = { conversation: summary.id };
        await this.backend.call({ method: 'delete_conversation', params });
        if (this.dialogue?.conversation === summary.id) this.dialogue.startNew();
        await this.refreshConversations();
      },
    };
  }

  async exportConversation(conversation: string, as: SaveFormat): Promise<void> {
    try {
      // A PDF is printed from the web page.
      const format = as === 'pdf' ? 'html' : as;
      const { file_name, text } = await this.backend.call({ method: 'export', params: { conversation, format } });
      const name = as === 'pdf' ? file_name.replace(/\.html$/, '.pdf') : file_name;
      const path = await this.backend.saveExport(as, name, text);
      if (path) this.notices.say(`Exported to ${path}`);
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }

  confirmRemove(document: DocumentSummary): void {
    this.sheet = {
      kind: 'confirm',
      title: 'Remove this document?',
      text: `“${document.title}” leaves the library with its conversations and everything that was read of it. Your own file is not touched.`,
      action: 'Remove',
      run: async () => {
        await this.library.remove(document.id);
        this.preferences.forget(document.id);
        this.#viewers.delete(document.id);
        this.#dialogues.delete(document.id);
        if (this.selected === document.id) this.#close();
      },
    };
  }

  confirmForget(document: DocumentSummary): void {
    const { reading } = document;
    const room = reading.state === 'read' ? ` This frees ${bytes(reading.cache_bytes)}.` : '';
    this.sheet = {
      kind: 'confirm',
      title: 'Discard what was read?',
      text: `The model will have to read “${document.title}” again before it can answer.${room} The document and its conversations stay.`,
      action: 'Discard',
      run: () => this.library.forget(document.id),
    };
  }

  #close(): void {
    this.selected = null;
    this.viewer = null;
    this.dialogue = null;
    this.conversations = [];
    const next = this.library.documents[0];
    if (next) this.open(next.id);
  }

  /** Opens the document of a citation at the cited words. */
  showEvidence(
    evidence: Citation[],
    index: number,
    coverage: TextSpan[],
    name: EvidenceName = 'Evidence',
  ): void {
    const citation = evidence[index];
    if (!citation) return;
    this.open(citation.document);
    // A document that is not in the list cannot be shown, and another one's highlights would be wrong.
    if (this.selected !== citation.document) return;
    this.viewer?.showEvidence(evidence, index, coverage, name);
  }

  /** Puts selected words into the question box, for a question about them. */
  askAbout(words: string): void {
    if (!this.dialogue) return;
    const quoted = words.replace(/\s+/g, ' ').trim();
    const short = quoted.length > LONGEST_ASKED ? `${quoted.slice(0, LONGEST_ASKED)}…` : quoted;
    this.dialogue.draft = `About “${short}”: `;
    this.preferences.set('conversationOpen', true);
    queueMicrotask(() => requestAnimationFrame(() => focusPane('conversation')));
  }

  /** Copies words with where they stand. */
  async copyQuotation(words: string, title: string, place: string): Promise<void> {
    const copied = await copy(withReference(words, title, place));
    if (copied) this.notices.say('Copied with its place.');
    else this.notices.fail({ message: 'The clipboard cannot be used.', advice: 'Select the words and press Ctrl C.' });
  }
}

/** What became of an update, in a sentence or two. */
function updateInWords({ document, unchanged_bytes, citations_kept, citations_gone }: Refreshed): string {
  const kept = unchanged_bytes > 0 ? ' What was read of the parts that did not change is kept.' : '';
  const gone =
    citations_gone > 0
      ? ` ${citations_gone} of ${citations_kept + citations_gone} citations are no longer in the document.`
      : '';
  return `“${document.title}” is up to date.${kept}${gone}`;
}

const KEY = Symbol('session');

export function provideSession(session: Session): Session {
  return setContext(KEY, session);
}

export function useSession(): Session {
  return getContext<Session>(KEY);
}
