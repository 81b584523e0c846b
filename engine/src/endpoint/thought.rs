//! Thinking aloud, which some models do before they answer and some servers do not keep apart.

const OPENS: &str = "<think>";
const CLOSES: &str = "</think>";

/// Takes `<think>…</think>` away from the beginning of an answer: it is no part of it, and not to be cited.
#[derive(Debug, Default)]
pub(super) struct Thought {
    state: State,
    /// What was held back because it may be the beginning of a mark.
    held: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    #[default]
    Before,
    Thinking,
    Answering,
}

impl Thought {
    /// What of the text so far can be told, now that `piece` came.
    pub fn push(&mut self, piece: &str) -> String {
        if self.state == State::Answering {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        if self.state == State::Before {
            let text = self.held.trim_start();
            if let Some(thinking) = text.strip_prefix(OPENS) {
                self.held = thinking.to_owned();
                self.state = State::Thinking;
            } else if OPENS.starts_with(text) {
                return String::new();
            } else {
                self.state = State::Answering;
                return std::mem::take(&mut self.held);
            }
        }
        match self.held.split_once(CLOSES) {
            Some((_, answer)) => {
                self.state = State::Answering;
                let answer = answer.to_owned();
                self.held.clear();
                answer
            }
            None => {
                // No longer than a mark that is cut off: a thought is not kept.
                let mut cut = self.held.len().saturating_sub(CLOSES.len());
                while !self.held.is_char_boundary(cut) {
                    cut -= 1;
                }
                self.held.drain(..cut);
                String::new()
            }
        }
    }

    /// What was held back and turned out to be the answer.
    pub fn finish(&mut self) -> String {
        match self.state {
            State::Before => std::mem::take(&mut self.held),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&str]) -> String {
        let mut thought = Thought::default();
        let mut text: String = pieces.iter().map(|piece| thought.push(piece)).collect();
        text.push_str(&thought.finish());
        // Blanks before an answer are dropped where it is put together.
        text.trim_start().to_owned()
    }

    #[test]
    fn thoughts_are_taken_away_however_they_are_cut() {
        for (whole, expected) in [
            ("<think>Hm. 3 < 4</think>\n\nIt is so.", "It is so."),
            ("\n<think>\n\n</think>It is so.", "It is so."),
            ("It is <think>so</think>.", "It is <think>so</think>."),
            ("<thin", "<thin"),
            ("<b>Yes</b>", "<b>Yes</b>"),
            ("<think>for ever \u{1F914}\u{1F914}\u{1F914}", ""),
            ("", ""),
        ] {
            assert_eq!(told(&[whole]), expected);
            let characters: Vec<String> = whole.chars().map(String::from).collect();
            let pieces: Vec<&str> = characters.iter().map(String::as_str).collect();
            assert_eq!(told(&pieces), expected, "{whole:?}");
        }
    }
}
