/** Questions and answers about one document. */
import type { Answer, AnswerSentence, AskStage, Citation, Failure, ReadProgress } from '../bindings';
import { failureOf, isCancelled, type Backend } from '../backend';

/** One question, and whatever of its answer there is. */
export interface Turn {
  question: string;
  stage: AskStage | null;
  reading: ReadProgress | null;
  /** Everything that was said, while it streams. */
  text: string;
  /** Sentences that are finished and verified. */
  sentences: AnswerSentence[];
  answer: Answer | null;
  failure: Failure | null;
  /** Stopped by the person before anything came. */
  stopped: boolean;
}

export class Dialogue {
  turns = $state<Turn[]>([]);
  /** Id of the kept conversation; null until the first answer is kept. */
  conversation = $state<string | null>(null);
  asking = $state(false);
  stopping = $state(false);
  draft = $state('');
  #stop: AbortController | null = null;
  /** The conversation that is being fetched to be shown; whatever is done meanwhile takes its place. */
  #opening: string | null = null;

  constructor(
    readonly backend: Backend,
    readonly document: string,
    /** Hears of reading that a question causes, of notices, of an answer that was kept, and of which conversation is shown. */
    readonly hears: {
      reading?: (progress: ReadProgress) => void;
      notice?: (message: string) => void;
      answered?: () => void;
      shown?: (conversation: string | null) => void;
    } = {},
  ) {}

  async ask(question: string): Promise<void> {
    const words = question.trim();
    if (words === '' || this.asking) return;
    this.#opening = null;
    this.turns.push(fresh(words));
    const turn = this.turns.at(-1)!;
    this.asking = true;
    this.#stop = new AbortController();
    try {
      const { answer } = await this.backend.call(
        {
          method: 'ask',
          params: { document: this.document, question: words, conversation: this.conversation, at_once: true },
        },
        { signal: this.#stop.signal, onEvent: (event) => this.#hear(turn, event) },
      );
      turn.answer = answer;
      turn.text = answer.answer;
      turn.sentences = answer.sentences;
      turn.stopped = answer.stopped;
      this.conversation = answer.conversation ?? this.conversation;
      this.hears.shown?.(this.conversation);
    } catch (thrown) {
      if (isCancelled(thrown)) turn.stopped = true;
      else turn.failure = failureOf(thrown);
    } finally {
      turn.stage = null;
      turn.reading = null;
      this.asking = false;
      this.stopping = false;
      this.#stop = null;
      this.hears.answered?.();
    }
  }

  #hear(turn: Turn, event: Parameters<NonNullable<Parameters<Backend['call']>[1]>['onEvent'] & {}>[0]): void {
    switch (event.kind) {
      case 'stage':
        turn.stage = event.stage;
        turn.reading = null;
        break;
      case 'token':
        turn.text += event.text;
        break;
      case 'sentence':
        turn.sentences[event.index] = event.sentence;
        break;
      case 'reading':
        turn.reading = event;
        // Passages are read for this answer alone: that is no progress of the document.
        if (turn.stage !== 'reading_passages') this.hears.reading?.(event);
        break;
      case 'notice':
        this.hears.notice?.(event.message);
        break;
    }
  }

  /** Stops the answer; what was said until then stays. */
  stop(): void {
    this.stopping = this.asking;
    this.#stop?.abort();
  }

  /** Asks the last question again, after a failure. */
  async retry(): Promise<void> {
    const last = this.turns.at(-1);
    if (!last || this.asking) return;
    this.turns.pop();
    await this.ask(last.question);
  }

  startNew(): void {
    if (this.asking) return;
    this.#opening = null;
    this.turns = [];
    this.conversation = null;
    this.hears.shown?.(null);
  }

  async open(conversation: string): Promise<void> {
    if (this.asking) return;
    this.#opening = conversation;
    const outcome = await this.backend.call({ method: 'conversation', params: { conversation } });
    if (this.#opening !== conversation) return;
    this.#opening = null;
    this.conversation = outcome.conversation.id;
    this.turns = outcome.conversation.turns.map((answer) => ({
      ...fresh(answer.question),
      stage: null,
      text: answer.answer,
      sentences: answer.sentences,
      answer,
      stopped: answer.stopped,
    }));
    this.hears.shown?.(this.conversation);
  }
}

function fresh(question: string): Turn {
  return {
    question,
    stage: 'waiting',
    reading: null,
    text: '',
    sentences: [],
    answer: null,
    failure: null,
    stopped: false,
  };
}

/** The evidence of an answer that still stands, in order of appearance, each place once: the numbers on the chips. */
export function evidenceOf(sentences: readonly AnswerSentence[]): Citation[] {
  const seen = new Map<string, Citation>();
  for (const sentence of sentences) {
    // A sentence may be missing while its neighbours are already verified.
    for (const citation of sentence?.citations ?? []) {
      if (citation.gone) continue;
      const key = keyOf(citation);
      if (!seen.has(key)) seen.set(key, citation);
    }
  }
  return [...seen.values()];
}

export function keyOf(citation: Citation): string {
  // Words that are gone stand nowhere, so their place does not tell them apart.
  return citation.gone
    ? `${citation.document}:gone:${citation.quote}`
    : `${citation.document}:${citation.start}-${citation.end}`;
}
