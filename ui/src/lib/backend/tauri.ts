/** The real backend: the shell's commands, and through them the engine. */
import { Channel } from '@tauri-apps/api/core';
import { getCurrentWebview } from '@tauri-apps/api/webview';
import { commands, events, type Event, type Failure, type Opened, type Request } from '../bindings';
import { CallFailed, type Backend, type CallOptions, type OutcomeOf, type Unlisten } from '../backend';

function isFailure(thrown: unknown): thrown is Failure {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && 'message' in thrown;
}

/** Failures cross the bridge as plain values; the shell's own faults as strings. */
async function unwrap<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (thrown) {
    if (isFailure(thrown)) throw new CallFailed(thrown);
    throw new CallFailed({ code: 'other', message: String(thrown), advice: null });
  }
}

/** Stops listening, also when asked before listening has begun. */
function unlisten(listening: Promise<Unlisten>): Unlisten {
  return () => void listening.then((stop) => stop());
}

export class TauriBackend implements Backend {
  // Keys are random, so that calls of a page that was reloaded are never taken for calls of this one.
  #key = crypto.getRandomValues(new Uint32Array(1))[0]!;

  async call<R extends Request>(request: R, options: CallOptions = {}): Promise<OutcomeOf<R['method']>> {
    const { onEvent, signal } = options;
    const key = (this.#key = (this.#key + 1) >>> 0);
    const channel = new Channel<Event>();
    channel.onmessage = (event) => onEvent?.(event);
    const cancel = () => void commands.cancel(key);
    if (signal?.aborted) {
      throw new CallFailed({ code: 'cancelled', message: 'Cancelled.', advice: null });
    }
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return (await unwrap(commands.call(key, request, channel))) as OutcomeOf<R['method']>;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  pick = (kind: Parameters<typeof commands.pick>[0]) => unwrap(commands.pick(kind));
  saveExport = (...given: Parameters<typeof commands.saveExport>) => unwrap(commands.saveExport(...given));
  originalSize = (document: string) => unwrap(commands.originalSize(document));
  readOriginal = (document: string, offset: number, length: number) =>
    unwrap(commands.readOriginal(document, offset, length));
  runsOn = () => unwrap(commands.runsOn());
  samplePath = () => unwrap(commands.samplePath());
  opened = () => unwrap(commands.opened());

  onOpenLater(listener: (opened: Opened) => void): Unlisten {
    return unlisten(events.openLater.listen((event) => listener(event.payload)));
  }

  onEngineStopped(listener: (message: string) => void): Unlisten {
    return unlisten(events.engineStopped.listen((event) => listener(event.payload.message)));
  }

  onDrop(listener: Parameters<Backend['onDrop']>[0]): Unlisten {
    return unlisten(
      getCurrentWebview().onDragDropEvent(({ payload }) => {
        if (payload.type === 'drop') listener({ kind: 'drop', paths: payload.paths });
        else if (payload.type === 'leave') listener({ kind: 'leave' });
        else listener({ kind: 'over' });
      }),
    );
  }
}
