/** What of a document an answer could see, in words; null when that is the whole. */
import type { Answer, DocumentSummary } from '../bindings';
import { count } from '../text/format';

export function coverageLine(answer: Pick<Answer, 'strategy' | 'coverage'>, document: DocumentSummary): string | null {
  if (answer.strategy !== 'retrieved_passages') return null;
  const seen = answer.coverage.reduce((sum, span) => sum + span.end - span.start, 0);
  const share = (100 * seen) / Math.max(1, document.text_bytes);
  const words = share < 1 ? 'less than 1 %' : `${Math.round(share)} %`;
  const passages = count(answer.coverage.length, 'passage');
  return `This answer saw ${passages}, ${words} of the document, which is longer than the model’s window.`;
}
