/**
 * Everything the web view asks of the world outside it, behind one interface: the engine's protocol, the system's
 * dialogs, dropped files, and the bytes of originals. `backend/tauri.ts` is the real one, `fake/` one for tests and
 * for a plain browser. Nothing else imports Tauri.
 */
import type { Event, Failure, Opened, Outcome, PickKind, Request, RunsOn, SaveFormat } from './bindings';

export type Method = Request['method'];

/** Which outcome each request comes to. */
interface OutcomeKinds extends Record<Method, Outcome['kind']> {
  hello: 'hello';
  library: 'library';
  add: 'added';
  remove: 'done';
  changes: 'changes';
  refresh: 'refreshed';
  read: 'read';
  ask: 'answer';
  conversations: 'conversations';
  cited_by: 'cited_by';
  conversation: 'conversation';
  delete_conversation: 'done';
  export: 'exported';
  follow: 'followed';
  outline: 'outline';
  content: 'content';
  locate: 'located';
  find: 'found';
  original: 'original';
  models: 'models';
  download_model: 'done';
  import_model: 'models';
  settings: 'settings';
  change_settings: 'settings';
  describe_endpoint: 'endpoint';
  keep_endpoint_key: 'endpoint';
  storage: 'storage';
  forget: 'done';
  cancel: 'done';
}

export type OutcomeOf<M extends Method> = Extract<Outcome, { kind: OutcomeKinds[M] }>;

export interface CallOptions {
  /** Hears of progress, in order, before the outcome. */
  onEvent?: (event: Event) => void;
  /** Ends the call early; it then fails with the code `cancelled`. */
  signal?: AbortSignal;
}

/** Files held over the window, then dropped or taken away again. */
export type Drop = { kind: 'over' } | { kind: 'leave' } | { kind: 'drop'; paths: string[] };

export interface Backend {
  /** Asks the engine. Fails with {@link CallFailed}. */
  call<R extends Request>(request: R, options?: CallOptions): Promise<OutcomeOf<R['method']>>;
  /** The system's dialog; empty if the person changed their mind. */
  pick(kind: PickKind): Promise<string[]>;
  /**
   * Asks where to keep an exported conversation, Markdown or for a PDF the web page, and writes it there; null if the
   * person changed their mind.
   */
  saveExport(format: SaveFormat, fileName: string, text: string): Promise<string | null>;
  /** Bytes of the kept original of a document. */
  originalSize(document: string): Promise<number>;
  readOriginal(document: string, offset: number, length: number): Promise<ArrayBuffer>;
  /** Where the engine computes; null before it was first asked anything. */
  runsOn(): Promise<RunsOn | null>;
  /** Path of the sample book that came with the program, if it did. */
  samplePath(): Promise<string | null>;
  /** Files and links named on the command line of this start. */
  opened(): Promise<Opened>;
  /** Files and links named by a later start. */
  onOpenLater(listener: (opened: Opened) => void): Unlisten;
  onDrop(listener: (drop: Drop) => void): Unlisten;
  /** The engine ended unasked; calls in flight have failed, the next call starts it again. */
  onEngineStopped(listener: (message: string) => void): Unlisten;
}

export type Unlisten = () => void;

/** A failure in words for a person, as the engine or the shell put it. */
export class CallFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
    this.name = 'CallFailed';
  }
}

/** Whatever was thrown, as a failure that can be shown. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof CallFailed) return thrown.failure;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code: 'other', message, advice: null };
}

export function isCancelled(thrown: unknown): boolean {
  return thrown instanceof CallFailed && thrown.failure.code === 'cancelled';
}
