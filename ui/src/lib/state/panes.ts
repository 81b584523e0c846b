/** The three panes of the window, and the keyboard's way into them. */

/** Puts the focus on the first control of a pane that asks for it. */
export function focusPane(pane: 'library' | 'viewer' | 'conversation'): void {
  const root = document.querySelector<HTMLElement>(`[data-pane="${pane}"]`);
  const wanted = root?.querySelector<HTMLElement>('[data-focus-first]');
  (wanted ?? root?.querySelector<HTMLElement>('button, [tabindex="0"], textarea'))?.focus();
}
