//! The answer as it grows: text, and sentences as they become whole.

use super::document::OpenDocument;
use crate::citing::{AttentionEvidence, Claim, Weights, cite};
use crate::document::{Span, sentences};
use lectern_protocol::{AnswerSentence, Citation, Event, SupportState};
use std::time::{Duration, Instant};

/// Bytes that must follow a sentence before it counts as whole: what comes next may show that its end was none
/// ("J." goes on with "Smith", not with "She").
const BYTES_AFTER: usize = 8;

/// A sentence with as many bytes that was said before is a circle; a shorter one ("Yes.") may be said twice.
const LEAST_REPEATED: usize = 24;

/// Text that is streamed, split into sentences.
#[derive(Default)]
pub(super) struct GrowingAnswer {
    text: String,
    /// Where the first sentence that was not yet given begins.
    given: usize,
    sentences: Vec<AnswerSentence>,
    /// Where the answer ends, if it is cut off before what was streamed last.
    cut: Option<usize>,
    citing: Duration,
}

impl GrowingAnswer {
    /// Appends text; what comes before the first word is dropped. Returns what was appended.
    pub fn push<'p>(&mut self, piece: &'p str) -> &'p str {
        let piece = if self.text.is_empty() {
            piece.trim_start()
        } else {
            piece
        };
        self.text.push_str(piece);
        piece
    }

    /// Time that citing took.
    pub fn citing(&self) -> Duration {
        self.citing
    }

    /// Cites every sentence that is whole by now, with `finished` also the last, and tells of it; `cite` is given its words.
    /// Returns whether one of them was said before, which ends the answer in front of it.
    pub fn cite_whole_sentences(
        &mut self,
        finished: bool,
        cite: &mut dyn FnMut(Span, &str) -> AnswerSentence,
        tell: &mut dyn FnMut(Event),
    ) -> bool {
        while self.cut.is_none()
            && let Some(span) = self.next_sentence(finished)
        {
            let words = span.of(&self.text).unwrap_or_default().to_owned();
            if words.len() >= LEAST_REPEATED
                && self.sentences.iter().any(|earlier| earlier.text == words)
            {
                self.cut = Some(span.start);
                break;
            }
            let started = Instant::now();
            let sentence = cite(span, &words);
            self.citing += started.elapsed();
            tell(Event::Sentence {
                index: self.sentences.len() as u32,
                sentence: sentence.clone(),
            });
            self.sentences.push(sentence);
        }
        self.cut.is_some()
    }

    /// The next sentence that is whole, if there is one; with `finished`, the last one is.
    fn next_sentence(&mut self, finished: bool) -> Option<Span> {
        let open = sentences(&self.text, Span::new(self.given, self.text.len()));
        let first = *open.first()?;
        let followed = open
            .get(1)
            .is_some_and(|next| self.text.len() - next.start >= BYTES_AFTER);
        if !followed && !finished {
            return None;
        }
        self.given = first.end;
        Some(first)
    }

    /// The answer's text, without white space at its end, and its sentences.
    pub fn finish(mut self) -> (String, Vec<AnswerSentence>) {
        self.text.truncate(self.cut.unwrap_or(self.text.len()));
        self.text.truncate(self.text.trim_end().len());
        (self.text, self.sentences)
    }
}

/// A sentence of an answer to `question` with its verified citations; without `evidence` they rest on words alone.
pub(super) fn cited(
    document: &OpenDocument,
    question: &str,
    span: Span,
    words: &str,
    evidence: Option<&AttentionEvidence>,
) -> AnswerSentence {
    let claim = Claim {
        sentence: words,
        question,
    };
    let verdict = cite(
        &claim,
        &document.document.text,
        &document.sentences,
        evidence,
        &Weights::default(),
    );
    let citations: Vec<Citation> = verdict
        .citations
        .iter()
        .filter_map(|cited| document.citation(cited.span, cited.score))
        .collect();
    let state = match verdict.state {
        SupportState::Supported | SupportState::Partly if citations.is_empty() => {
            SupportState::Unsupported
        }
        state => state,
    };
    AnswerSentence {
        text: words.to_owned(),
        span: span.into(),
        state,
        citations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_given_once_and_only_when_whole() {
        let mut answer = GrowingAnswer::default();
        let mut given = Vec::new();
        for piece in [
            "\n ",
            "He met J",
            ".",
            " Smith",
            " in 3.",
            "5 h. ",
            "Then he",
            " left. He",
            " ate soup",
            " and",
        ] {
            answer.push(piece);
            while let Some(span) = answer.next_sentence(false) {
                given.push(span.of(&answer.text).unwrap_or_default().to_owned());
            }
        }
        assert_eq!(given, ["He met J. Smith in 3.5 h.", "Then he left."]);
        let last = answer.next_sentence(true);
        assert_eq!(
            last.and_then(|span| span.of(&answer.text)),
            Some("He ate soup and")
        );
        assert_eq!(answer.next_sentence(true), None);
        answer.cut = Some(26);
        assert_eq!(answer.finish().0, "He met J. Smith in 3.5 h.");
    }

    #[test]
    fn an_answer_ends_before_a_long_sentence_that_was_said_already() {
        let mut answer = GrowingAnswer::default();
        answer.push("Yes. Yes. The lamp was lit in the year 1874. The lamp was lit in the year 1874. And so on.");
        let mut cite = |span: Span, words: &str| AnswerSentence {
            text: words.to_owned(),
            span: span.into(),
            state: SupportState::Unsupported,
            citations: Vec::new(),
        };
        let mut told = 0;
        assert!(answer.cite_whole_sentences(true, &mut cite, &mut |_| told += 1));
        assert!(answer.cite_whole_sentences(true, &mut cite, &mut |_| told += 1));
        let (text, sentences) = answer.finish();
        assert_eq!(text, "Yes. Yes. The lamp was lit in the year 1874.");
        assert_eq!((sentences.len(), told), (3, 3));
    }
}
