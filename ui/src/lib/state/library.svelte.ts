/** The documents: adding, reading, removing. */
import type {
  Added,
  DocumentSummary,
  Failure,
  IngestProgress,
  ReadProgress,
  Refreshed,
  SourceState,
} from '../bindings';
import { failureOf, isCancelled, type Backend } from '../backend';
import { fileName } from '../text/format';
import type { Notices } from './notices.svelte';

/** A path on its way into the library, or one that did not get there. */
export interface Arrival {
  id: number;
  path: string;
  name: string;
  progress: IngestProgress | null;
  failure: Failure | null;
  cancel: () => void;
}

/** A document being read now. */
export interface Reading {
  progress: ReadProgress | null;
  /** The person asked to pause; it stops after the open chunk. */
  pausing: boolean;
  pause: () => void;
}

export class Library {
  documents = $state<DocumentSummary[]>([]);
  loaded = $state(false);
  failure = $state<Failure | null>(null);
  arrivals = $state<Arrival[]>([]);
  readings = $state<Record<string, Reading>>({});
  /** Documents that are not what their file or folder is now. */
  changes = $state<Record<string, SourceState>>({});
  /** Documents that are being taken in anew. */
  updating = $state<Record<string, boolean>>({});
  /** Why reading a document, or taking it in anew, ended early. */
  readFailures = $state<Record<string, Failure>>({});
  /** Passwords given in this session, for pdf.js: the kept original is encrypted too. */
  readonly passwords = new Map<string, string>();
  /** Called with a document that is new in the library. */
  onAdded: (document: DocumentSummary) => void = () => {};
  /** Called when a document's new version is there. */
  onRefreshed: (refreshed: Refreshed) => Promise<void> = async () => {};
  /** Called when the person pauses the reading of a document, and when it begins or goes on. */
  onPaused: (id: string, paused: boolean) => void = () => {};
  #next = 1;

  constructor(
    readonly backend: Backend,
    readonly notices: Notices,
  ) {}

  find(id: string | null): DocumentSummary | null {
    return this.documents.find((document) => document.id === id) ?? null;
  }

  async refresh(): Promise<void> {
    try {
      this.documents = (await this.backend.call({ method: 'library' })).documents;
      this.failure = null;
      this.loaded = true;
    } catch (thrown) {
      this.failure = failureOf(thrown);
    }
  }

  /** Adds every path at once; each ends by itself. Gives the documents that are in the library now. */
  async add(paths: string[], password: string | null = null): Promise<DocumentSummary[]> {
    if (paths.length === 0) return [];
    const stop = new AbortController();
    const started = paths.map((path) => this.#arrive(path, () => stop.abort()));
    const ids = new Set(started);
    const own = (path: string) =>
      this.arrivals.find((arrival) => ids.has(arrival.id) && arrival.path === path);
    try {
      const { added } = await this.backend.call(
        { method: 'add', params: { paths, password } },
        {
          signal: stop.signal,
          onEvent: (event) => {
            if (event.kind === 'notice') this.notices.say(event.message);
            if (event.kind !== 'ingest') return;
            const arrival = own(event.path);
            if (arrival) arrival.progress = event;
          },
        },
      );
      const documents: DocumentSummary[] = [];
      for (const entry of added) this.#settle(entry, own(entry.path), password, documents);
      // A folder of documents may come to more than one entry a path.
      const failed = new Set(added.filter((entry) => entry.failure).map((entry) => entry.path));
      this.arrivals = this.arrivals.filter((arrival) => !ids.has(arrival.id) || failed.has(arrival.path));
      await this.refresh();
      return documents;
    } catch (thrown) {
      if (isCancelled(thrown)) {
        this.arrivals = this.arrivals.filter((arrival) => !ids.has(arrival.id));
        await this.refresh();
      } else {
        const failure = failureOf(thrown);
        for (const arrival of this.arrivals) if (ids.has(arrival.id)) arrival.failure = failure;
      }
      return [];
    }
  }

  #arrive(path: string, cancel: () => void): number {
    const id = this.#next++;
    this.arrivals = this.arrivals.filter((other) => other.path !== path || !other.failure);
    this.arrivals.push({ id, path, name: fileName(path), progress: null, failure: null, cancel });
    return id;
  }

  #settle(
    entry: Added,
    arrival: Arrival | undefined,
    password: string | null,
    documents: DocumentSummary[],
  ): void {
    if (entry.failure) {
      if (arrival) arrival.failure = entry.failure;
      else {
        const id = this.#arrive(entry.path, () => {});
        const late = this.arrivals.find((other) => other.id === id);
        if (late) late.failure = entry.failure;
      }
      return;
    }
    const { document } = entry;
    if (!document) return;
    documents.push(document);
    if (password !== null) this.passwords.set(document.id, password);
    if (entry.refreshed) {
      delete this.changes[document.id];
      void this.onRefreshed(entry.refreshed);
    } else if (entry.known) this.notices.say(`“${document.title}” is in the library already.`);
    else this.onAdded(document);
  }

  dismiss(arrival: Arrival): void {
    this.arrivals = this.arrivals.filter((other) => other.id !== arrival.id);
  }

  /** Reads a document, or goes on reading it, until it is read or paused. */
  async read(id: string): Promise<void> {
    if (this.readings[id]) return;
    const stop = new AbortController();
    const pause = () => {
      const reading = this.readings[id];
      if (reading) reading.pausing = true;
      this.onPaused(id, true);
      stop.abort();
    };
    this.onPaused(id, false);
    this.readings[id] = { progress: null, pausing: false, pause };
    delete this.readFailures[id];
    try {
      const { document } = await this.backend.call(
        { method: 'read', params: { document: id } },
        {
          signal: stop.signal,
          onEvent: (event) => {
            if (event.kind === 'notice') this.notices.say(event.message);
            if (event.kind === 'reading') this.progress(id, event);
          },
        },
      );
      this.#replace(document);
    } catch (thrown) {
      if (!isCancelled(thrown)) this.readFailures[id] = failureOf(thrown);
    } finally {
      delete this.readings[id];
    }
  }

  /** Reading of a document went on, through a `read` of ours or a question. */
  progress(id: string, progress: ReadProgress): void {
    const reading = this.readings[id];
    if (reading) reading.progress = progress;
    const document = this.find(id);
    if (document && progress.making_smaller) {
      document.reading = { state: 'read', tokens: progress.total, cache_bytes: progress.cache_bytes };
      // Until it is done; then what comes of it says so.
      document.could_be_smaller = true;
    } else if (document && progress.total > 0 && progress.tokens < progress.total) {
      document.reading = { state: 'partly', tokens: progress.tokens, total: progress.total };
    }
  }

  /** Looks at the files and folders that documents were made of. */
  async check(): Promise<void> {
    try {
      const { changes } = await this.backend.call({ method: 'changes' });
      this.changes = Object.fromEntries(changes.map(({ document, state }) => [document, state]));
    } catch {
      // Nobody asked for it, so nobody is told: the next look may do better.
    }
  }

  /** Takes a document in anew after its file or folder has changed; null if that failed. */
  async update(id: string): Promise<Refreshed | null> {
    if (this.updating[id]) return null;
    this.updating[id] = true;
    delete this.readFailures[id];
    try {
      const params = { document: id, password: this.passwords.get(id) ?? null };
      const { refreshed } = await this.backend.call({ method: 'refresh', params });
      this.#replace(refreshed.document);
      if (refreshed.state !== 'missing') delete this.changes[id];
      return refreshed;
    } catch (thrown) {
      if (!isCancelled(thrown)) this.readFailures[id] = failureOf(thrown);
      return null;
    } finally {
      delete this.updating[id];
    }
  }

  async remove(id: string): Promise<void> {
    this.readings[id]?.pause();
    try {
      await this.backend.call({ method: 'remove', params: { document: id } });
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
    delete this.readFailures[id];
    await this.refresh();
  }

  async forget(id: string): Promise<void> {
    this.readings[id]?.pause();
    try {
      await this.backend.call({ method: 'forget', params: { document: id } });
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
    await this.refresh();
  }

  #replace(document: DocumentSummary): void {
    this.documents = this.documents.map((other) => (other.id === document.id ? document : other));
  }
}
