//! The answer as it grows: text, and sentences as they become whole.

use crate::document::{Span, sentences};

/// Bytes that must follow a sentence before it counts as whole: what comes next may show that its end was none
/// ("J." goes on with "Smith", not with "She").
const BYTES_AFTER: usize = 8;

/// Text that is streamed, split into sentences.
#[derive(Default)]
pub(super) struct GrowingAnswer {
    text: String,
    /// Where the first sentence that was not yet given begins.
    given: usize,
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

    /// The answer so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The next sentence that is whole, if there is one; with `finished`, the last one is.
    pub fn next_sentence(&mut self, finished: bool) -> Option<Span> {
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

    /// Cuts the answer off at `end` and takes the white space from its end.
    pub fn finish_at(mut self, end: usize) -> String {
        self.text.truncate(end);
        self.text.truncate(self.text.trim_end().len());
        self.text
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
                given.push(span.of(answer.text()).unwrap_or_default().to_owned());
            }
        }
        assert_eq!(given, ["He met J. Smith in 3.5 h.", "Then he left."]);
        let last = answer.next_sentence(true);
        assert_eq!(
            last.and_then(|span| span.of(answer.text())),
            Some("He ate soup and")
        );
        assert_eq!(answer.next_sentence(true), None);
        assert_eq!(answer.finish_at(26), "He met J. Smith in 3.5 h.");
    }
}
