/** The models: which are here, which is used, downloads. */
import type { DownloadProgress, Failure, ModelEntry, Settings } from '../bindings';
import { failureOf, isCancelled, type Backend } from '../backend';
import type { Notices } from './notices.svelte';

export interface Download {
  progress: DownloadProgress | null;
  cancel: () => void;
}

export class Models {
  list = $state<ModelEntry[]>([]);
  settings = $state<Required<Settings> | null>(null);
  downloads = $state<Record<string, Download>>({});
  failures = $state<Record<string, Failure>>({});
  failure = $state<Failure | null>(null);
  loaded = $state(false);
  /** Called when another model may be in use. */
  onChanged: () => void = () => {};

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
    } catch (thrown) {
      this.failure = failureOf(thrown);
    }
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

  async download(name: string): Promise<void> {
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
