/** Keys that work anywhere in the window; the help sheet is drawn from the same list. */
import { focusPane } from './panes';
import type { Session } from './session.svelte';

interface Shortcut {
  keys: string;
  does: string;
  matches: (event: KeyboardEvent) => boolean;
  run: (session: Session) => void;
  /** Also while a person types in a field. */
  whileTyping: boolean;
}

const command = (event: KeyboardEvent) => (event.ctrlKey || event.metaKey) && !event.altKey;
const key = (event: KeyboardEvent, name: string) => event.key.toLowerCase() === name;

export const SHORTCUTS: Shortcut[] = [
  {
    keys: 'Ctrl O',
    does: 'Add documents',
    matches: (event) => command(event) && key(event, 'o'),
    run: (session) => void session.pick('files'),
    whileTyping: true,
  },
  {
    keys: 'Ctrl K',
    does: 'Go to the question box',
    matches: (event) => command(event) && key(event, 'k'),
    run: (session) => {
      session.preferences.set('conversationOpen', true);
      queueMicrotask(() => requestAnimationFrame(() => focusPane('conversation')));
    },
    whileTyping: true,
  },
  {
    keys: 'Ctrl F',
    does: 'Find in the document',
    matches: (event) => command(event) && key(event, 'f'),
    run: (session) => {
      if (!session.viewer) return;
      session.viewer.findOpen = true;
      requestAnimationFrame(() => document.querySelector<HTMLInputElement>('[data-find]')?.select());
    },
    whileTyping: true,
  },
  {
    keys: 'F3, Shift F3',
    does: 'Next or previous place found',
    matches: (event) => event.key === 'F3',
    run: () => {},
    whileTyping: true,
  },
  {
    keys: 'Alt ↓, Alt ↑',
    does: 'Next or previous evidence',
    matches: (event) => event.altKey && (event.key === 'ArrowDown' || event.key === 'ArrowUp'),
    run: () => {},
    whileTyping: true,
  },
  {
    keys: 'Ctrl +, Ctrl −, Ctrl 0',
    does: 'Larger, smaller, usual size',
    matches: (event) => command(event) && ['+', '=', '-', '0'].includes(event.key),
    run: () => {},
    whileTyping: true,
  },
  {
    keys: 'F6, Shift F6',
    does: 'Next or previous pane',
    matches: (event) => event.key === 'F6',
    run: () => {},
    whileTyping: true,
  },
  {
    keys: 'Ctrl B',
    does: 'Show or hide the library',
    matches: (event) => command(event) && key(event, 'b'),
    run: ({ preferences }) => preferences.set('libraryOpen', !preferences.values.libraryOpen),
    whileTyping: true,
  },
  {
    keys: 'Ctrl J',
    does: 'Show or hide the conversation',
    matches: (event) => command(event) && key(event, 'j'),
    run: ({ preferences }) => preferences.set('conversationOpen', !preferences.values.conversationOpen),
    whileTyping: true,
  },
  {
    keys: 'Ctrl ,',
    does: 'Settings',
    matches: (event) => command(event) && event.key === ',',
    run: (session) => (session.sheet = { kind: 'settings' }),
    whileTyping: true,
  },
  {
    keys: '?',
    does: 'This list',
    matches: (event) => event.key === '?' && !command(event),
    run: (session) => (session.sheet = { kind: 'help' }),
    whileTyping: false,
  },
];

/** What depends on Shift or on the exact key, told apart here so that the list above stays a list. */
function runWithDirection(session: Session, event: KeyboardEvent): void {
  const { viewer, preferences } = session;
  if (event.key === 'F3') void viewer?.stepFound(event.shiftKey ? -1 : 1);
  else if (event.key === 'ArrowDown' && event.altKey) viewer?.stepEvidence(1);
  else if (event.key === 'ArrowUp' && event.altKey) viewer?.stepEvidence(-1);
  else if (event.key === 'F6') nextPane(event.shiftKey ? -1 : 1);
  else if (event.key === '+' || event.key === '=') changeSize(preferences, session, 1);
  else if (event.key === '-') changeSize(preferences, session, -1);
  else if (event.key === '0') changeSize(preferences, session, 0);
}

function nextPane(by: 1 | -1): void {
  const panes = [...document.querySelectorAll<HTMLElement>('[data-pane]')];
  const at = panes.findIndex((pane) => pane.contains(document.activeElement));
  const next = panes[(at + by + panes.length) % panes.length];
  if (next) focusPane(next.dataset.pane as Parameters<typeof focusPane>[0]);
}

/** Zoom of a PDF, or size of reading text: one step up, one down, or back to the usual. */
export function changeSize(preferences: Session['preferences'], session: Session, by: 1 | -1 | 0): void {
  const { values } = preferences;
  if (session.document?.format === 'pdf') {
    const zoom = by === 0 ? 1 : values.zoom * (by === 1 ? 1.15 : 1 / 1.15);
    preferences.set('zoom', Math.min(4, Math.max(0.4, Math.round(zoom * 100) / 100)));
  } else {
    const size = by === 0 ? 18 : values.textSize + by;
    preferences.set('textSize', Math.min(32, Math.max(13, size)));
  }
}

export function listenToKeys(session: Session): () => void {
  const listen = (event: KeyboardEvent) => {
    if (session.sheet) return;
    const typing = event.target instanceof Element && event.target.closest('input, textarea, select') !== null;
    const shortcut = SHORTCUTS.find((other) => (other.whileTyping || !typing) && other.matches(event));
    if (!shortcut) return;
    event.preventDefault();
    shortcut.run(session);
    runWithDirection(session, event);
  };
  window.addEventListener('keydown', listen);
  return () => window.removeEventListener('keydown', listen);
}
