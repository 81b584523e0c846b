/** What jsdom lacks and the window has: layout (here, fixed sizes), dialogs, media queries. */
import '@testing-library/jest-dom/vitest';
import { configure } from '@testing-library/svelte';
import { afterEach, beforeEach, vi } from 'vitest';

// Long enough for a machine that is busy with a model; a test that passes does not wait.
configure({ asyncUtilTimeout: 30_000 });

/** Everything is 40 pixels high, and what scrolls 600: enough for the virtual list to lay out its first blocks. */
class FixedSizes implements ResizeObserver {
  readonly #heard: ResizeObserverCallback;

  constructor(heard: ResizeObserverCallback) {
    this.#heard = heard;
  }

  observe(target: Element): void {
    const height = target.classList.contains('scroller') ? 600 : 40;
    const size = [{ inlineSize: 500, blockSize: height }];
    const entry = {
      target,
      contentRect: { width: 500, height, x: 0, y: 0, top: 0, left: 0, right: 500, bottom: height },
      borderBoxSize: size,
      contentBoxSize: size,
      devicePixelContentBoxSize: size,
    };
    queueMicrotask(() => this.#heard([entry as unknown as ResizeObserverEntry], this));
  }

  unobserve(): void {}
  disconnect(): void {}
}

beforeEach(() => {
  localStorage.clear();
  vi.stubGlobal('ResizeObserver', FixedSizes);
  vi.stubGlobal('matchMedia', (media: string) => ({
    media,
    matches: false,
    addEventListener: () => {},
    removeEventListener: () => {},
  }));
  Object.defineProperty(HTMLElement.prototype, 'offsetParent', { get: () => document.body, configurable: true });
  Element.prototype.scrollIntoView = vi.fn();
  Element.prototype.scrollTo = vi.fn();
  HTMLDialogElement.prototype.showModal = function showModal(this: HTMLDialogElement) {
    this.setAttribute('open', '');
  };
  HTMLDialogElement.prototype.close = function close(this: HTMLDialogElement) {
    this.removeAttribute('open');
  };
});

afterEach(() => {
  vi.unstubAllGlobals();
});
