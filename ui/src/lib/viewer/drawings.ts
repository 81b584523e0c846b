/**
 * Whose turn it is to be drawn. pdf.js draws on the thread that scrolls, and several pages at once make every frame late:
 * one is drawn at a time, the nearest first, and what scrolled away before its turn is never drawn.
 */

/** Milliseconds that something must have been wanted before it is drawn: whoever jumps about passes many pages. */
const SETTLED = 80;

interface Wish {
  since: number;
  /** The lower, the sooner; asked when a turn is free. */
  order: () => number;
  draw: () => Promise<void>;
}

export class Drawings {
  #wishes: Wish[] = [];
  #drawing = false;
  #heldUntil = 0;

  constructor(readonly settled = SETTLED) {}

  /** Calls `draw` when its turn comes. Gives a way to want it no more; what is being drawn then must stop by itself. */
  want(order: () => number, draw: () => Promise<void>): () => void {
    const wish: Wish = { since: performance.now(), order, draw };
    this.#wishes.push(wish);
    void this.#work();
    return () => {
      this.#wishes = this.#wishes.filter((other) => other !== wish);
    };
  }

  /** Nothing is begun for a while: what is in view now will not be in a moment. */
  hold(ms: number): void {
    this.#heldUntil = performance.now() + ms;
  }

  async #work(): Promise<void> {
    if (this.#drawing) return;
    this.#drawing = true;
    while (this.#wishes.length > 0) {
      const now = performance.now();
      const ripe = this.#wishes.filter(({ since }) => now - since >= this.settled);
      if (ripe.length === 0 || now < this.#heldUntil) {
        const first = Math.min(...this.#wishes.map(({ since }) => since));
        const wait = Math.max(first + this.settled, this.#heldUntil) - now;
        await new Promise((done) => setTimeout(done, Math.max(1, wait)));
        continue;
      }
      const next = ripe.reduce((best, wish) => (wish.order() < best.order() ? wish : best));
      this.#wishes = this.#wishes.filter((other) => other !== next);
      // Whoever wants a drawing hears of its failure; the others go on.
      await next.draw().catch(() => {});
    }
    this.#drawing = false;
  }
}
