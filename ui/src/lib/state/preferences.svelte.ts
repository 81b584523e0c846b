/** What the window remembers by itself, from one start to the next: looks, places, conversations and pauses, nothing of the documents. */

export type Theme = 'system' | 'light' | 'dark';

/** Where a person was in a document. */
export interface Position {
  /** Page (0-based) of a PDF, block otherwise. */
  item: number;
  /** Pixels, at zoom 1, from the top of that item to the top of the view. */
  offset: number;
}

interface Stored {
  theme: Theme;
  libraryWidth: number;
  conversationWidth: number;
  libraryOpen: boolean;
  conversationOpen: boolean;
  zoom: number;
  textSize: number;
  document: string | null;
  /** Documents whose reading the person paused: it does not go on by itself. */
  paused: string[];
}

const DEFAULTS: Stored = {
  theme: 'system',
  libraryWidth: 272,
  conversationWidth: 416,
  libraryOpen: true,
  conversationOpen: true,
  zoom: 1,
  textSize: 18,
  document: null,
  paused: [],
};

const KEY = 'lectern.preferences';
const POSITION = 'lectern.position.';
const CONVERSATION = 'lectern.conversation.';

function load(): Stored {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    return { ...DEFAULTS };
  }
}

export class Preferences {
  readonly values = $state<Stored>(load());

  set<K extends keyof Stored>(name: K, value: Stored[K]): void {
    this.values[name] = value;
    localStorage.setItem(KEY, JSON.stringify(this.values));
  }

  /** Light, dark, system, light... */
  nextTheme(): void {
    const order: Theme[] = ['system', 'light', 'dark'];
    this.set('theme', order[(order.indexOf(this.values.theme) + 1) % order.length]!);
  }

  position(document: string): Position | null {
    try {
      const kept = localStorage.getItem(POSITION + document);
      return kept ? (JSON.parse(kept) as Position) : null;
    } catch {
      return null;
    }
  }

  keepPosition(document: string, position: Position): void {
    localStorage.setItem(POSITION + document, JSON.stringify(position));
  }

  /** The conversation about a document that was shown last. */
  conversation(document: string): string | null {
    return localStorage.getItem(CONVERSATION + document);
  }

  keepConversation(document: string, conversation: string | null): void {
    if (conversation) localStorage.setItem(CONVERSATION + document, conversation);
    else localStorage.removeItem(CONVERSATION + document);
  }

  setPaused(document: string, paused: boolean): void {
    const others = this.values.paused.filter((id) => id !== document);
    this.set('paused', paused ? [...others, document] : others);
  }

  /** A document has left the library. */
  forget(document: string): void {
    this.forgetPosition(document);
    this.keepConversation(document, null);
    this.setPaused(document, false);
  }

  forgetPosition(document: string): void {
    localStorage.removeItem(POSITION + document);
  }
}
