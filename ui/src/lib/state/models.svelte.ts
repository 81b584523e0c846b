/** The models: which are here, which is used, downloads. */
import type { DownloadProgress, EndpointDescription, Failure, ModelEntry, Settings } from '../bindings';
import { failureOf, isCancelled, type Backend } from '../backend';
import type { Notices } from './notices.svelte';

export interface Download {
  progress: DownloadProgress | null;
  cancel: () => void;
}

/** Whether it reads and answers; others are used where they are here, and never chosen. */
export function answers(model: ModelEntry): boolean {
  return (model.purpose ?? 'answers') === 'answers';
}

export class Models {
  list = $state<ModelEntry[]>([]);
  settings = $state<Required<Settings> | null>(null);
  downloads = $state<Record<string, Download>>({});
  failures = $state<Record<string, Failure>>({});
  /** The server that answers, while one does. */
  endpoint = $state.raw<EndpointDescription | null>(null);
  failure = $state<Failure | null>(null);
  loaded = $state(false);
  /** Called when another model may be in use. */
  onChanged: () => void = () => {};
  /** Called when what finds passages by their meaning has come. */
  onEmbedder: () => void = () => {};

  constructor(
    readonly backend: Backend,
    readonly notices: Notices,
  ) {}

  get current(): ModelEntry | null {
    return this.list.find((model) => model.current && model.installed) ?? null;
  }

  /** What recognises the text of scanned pages. */
  get recogniser(): ModelEntry | null {
    return this.list.find((model) => model.purpose === 'recognition') ?? null;
  }

  /** What finds passages by their meaning. */
  get embedder(): ModelEntry | null {
    return this.list.find((model) => model.purpose === 'passages') ?? null;
  }

  /** Whose answers a person gets while they are not this machine's; never null while a server is on. */
  get answersFrom(): { host: string; model: string; exposed: boolean } | null {
    const endpoint = this.settings?.endpoint;
    if (!endpoint?.on) return null;
    const { host, encrypted, loopback } = this.endpoint ?? { host: endpoint.url ?? '', encrypted: true, loopback: false };
    return { host, model: endpoint.model ?? '', exposed: !encrypted && !loopback };
  }

  /** The local model answers again. */
  async answerHere(): Promise<void> {
    if (this.settings) await this.change({ ...this.settings, endpoint: { ...this.settings.endpoint, on: false } });
  }

  async refresh(): Promise<void> {
    try {
      const [{ models }, { settings }] = await Promise.all([
        this.backend.call({ method: 'models' }),
        this.backend.call({ method: 'settings' }),
      ]);
      this.list = models;
      this.settings = settings as Required<Settings>;
      this.failure = null;
      this.loaded = true;
      await this.#describe();
    } catch (thrown) {
      this.failure = failureOf(thrown);
    }
  }

  async #describe(): Promise<void> {
    const endpoint = this.settings?.endpoint;
    // An address that a person made none by hand is told where it is asked.
    const described = endpoint?.on
      ? await this.backend.call({ method: 'describe_endpoint', params: { endpoint } }).catch(() => null)
      : null;
    this.endpoint = described?.endpoint ?? null;
  }

  async change(settings: Required<Settings>): Promise<boolean> {
    try {
      const outcome = await this.backend.call({ method: 'change_settings', params: { settings } });
      this.settings = outcome.settings as Required<Settings>;
      await this.refresh();
      this.onChanged();
      return true;
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
      return false;
    }
  }

  async use(name: string): Promise<void> {
    if (this.settings) await this.change({ ...this.settings, model: name });
  }

  /** Gets a model. With one that answers comes what finds passages for it, which is small, if it is not here. */
  async download(name: string): Promise<void> {
    await this.#fetch(name);
    const got = this.list.find((model) => model.name === name);
    const { embedder } = this;
    if (got?.installed && answers(got) && embedder && !embedder.installed) await this.#fetch(embedder.name);
  }

  async #fetch(name: string): Promise<void> {
    if (this.downloads[name]) return;
    const stop = new AbortController();
    this.downloads[name] = { progress: null, cancel: () => stop.abort() };
    delete this.failures[name];
    try {
      await this.backend.call(
        { method: 'download_model', params: { name } },
        {
          signal: stop.signal,
          onEvent: (event) => {
            const download = this.downloads[name];
            if (event.kind === 'download' && download) download.progress = event;
          },
        },
      );
    } catch (thrown) {
      if (!isCancelled(thrown)) this.failures[name] = failureOf(thrown);
    } finally {
      delete this.downloads[name];
      await this.refresh();
      this.onChanged();
      if (this.embedder?.name === name && this.embedder.installed) this.onEmbedder();
    }
  }

  async importFile(): Promise<void> {
    try {
      const [path] = await this.backend.pick('model');
      if (!path) return;
      await this.backend.call({ method: 'import_model', params: { path } });
      await this.refresh();
    } catch (thrown) {
      this.notices.fail(failureOf(thrown));
    }
  }
}
