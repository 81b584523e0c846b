/** What of a document an answer could see, in words; null when that is the whole. */
import type { Answer, DocumentSummary } from '../bindings';
import { count } from '../text/format';

export function coverageLine(answer: Pick<Answer, 'strategy' | 'coverage' | 'model'>, document: DocumentSummary): string | null {
  if (answer.strategy === 'whole_document') return null;
  const seen = answer.coverage.reduce((sum, span) => sum + span.end - span.start, 0);
  const share = (100 * seen) / Math.max(1, document.text_bytes);
  const words = share < 1 ? 'less than 1 %' : `${Math.round(share)} %`;
  const wasRead = answer.strategy === 'partly_read' || answer.strategy === 'read_segments';
  const parts = count(answer.coverage.length, wasRead ? 'part' : 'passage');
  if (answer.strategy === 'endpoint') return `Answered by ${answer.model}, which saw ${parts}, ${words} of the document.`;
  if (answer.strategy === 'read_segments') {
    const those = answer.coverage.length === 1 ? 'part of the document that matches' : `${parts} of the document that match`;
    return `This answer looked at the ${those} the question best, ${words} of it.`;
  }
  const why =
    answer.strategy === 'partly_read'
      ? 'which is still to be read to its end. Ask again when it is read.'
      : 'which is longer than the model’s window.';
  return `This answer saw ${parts}, ${words} of the document, ${why}`;
}
