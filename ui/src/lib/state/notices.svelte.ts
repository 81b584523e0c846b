/** Things the person should be told that belong to no place on the screen. */

export interface Notice {
  id: number;
  kind: 'information' | 'error';
  message: string;
  advice: string | null;
}

export class Notices {
  list = $state<Notice[]>([]);
  #next = 1;

  say(message: string): void {
    this.#add({ id: this.#next++, kind: 'information', message, advice: null });
  }

  fail(failure: { message: string; advice: string | null }): void {
    this.#add({ id: this.#next++, kind: 'error', ...failure });
  }

  dismiss(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }

  #add(notice: Notice): void {
    const same = (other: Notice) => other.message === notice.message && other.kind === notice.kind;
    this.list = [...this.list.filter((other) => !same(other)), notice].slice(-4);
    // Information goes by itself; an error stays until it was seen.
    if (notice.kind === 'information') setTimeout(() => this.dismiss(notice.id), 8000);
  }
}
