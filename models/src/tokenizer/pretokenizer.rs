//! Cuts text into the pieces that byte-pair merges never cross.
//!
//! The patterns are those of llama.cpp (`llama-vocab.cpp`), by the name in `tokenizer.ggml.pre`. They are written
//! for engines with look-ahead: each ends in `\s+(?!\S)|\s+`, "white space, but leave the last of it to the word
//! that follows". Here `regex`, which has no look-ahead but runs in linear time whatever the text, matches `\s+` and
//! the last character is given back: the same pieces, and no text on which a search backtracks for minutes or gives
//! up. A document is cut lazily, so its length costs no memory.

use regex::Regex;

use super::TokenizerError;

/// One pass over the pieces of the pass before it.
struct Stage {
    pattern: Regex,
    /// The pattern has an alternative `\s*[\r\n]+`, so white space that ends in a line break is whole as it is.
    line_breaks_close: bool,
    /// The pattern describes words and ends in `\s+`, so the last white space before a word is given back.
    words: bool,
}

pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
    /// A piece that is a token as a whole is that token, whatever the merges say.
    pub(super) ignores_merges: bool,
}

/// GPT-2's pattern, without the look-ahead.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
/// Qwen2's: contractions in either case, digits one by one, line breaks kept together.
const QWEN2: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
/// Llama 3's: as Qwen2's, with digits in threes.
const LLAMA3: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

impl PreTokenizer {
    /// By the name in `tokenizer.ggml.pre`.
    pub(super) fn named(name: &str) -> Result<Self, TokenizerError> {
        let gpt2 = || Stage::words(GPT2, false);
        let (stages, ignores_merges) = match name {
            "qwen2" | "deepseek-r1-qwen" | "megrez" | "stablelm2" => {
                (vec![Stage::words(QWEN2, true)], false)
            }
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "pixtral" => {
                (vec![Stage::words(LLAMA3, true)], true)
            }
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone"
            | "minerva-7b" => (vec![Stage::alone(r"\p{N}"), gpt2()], false),
            "gpt-2" | "phi-2" => (vec![gpt2()], false),
            "default" => (
                vec![
                    Stage::alone(r"[\p{P}\$\+<=>\^~\|]+"),
                    gpt2(),
                    Stage::alone(r"\p{N}+"),
                    Stage::alone("[0-9][0-9][0-9]"),
                ],
                false,
            ),
            other => return Err(TokenizerError::PreTokenizer(other.to_owned())),
        };
        let stages = stages
            .into_iter()
            .collect::<Result<_, regex::Error>>()
            .map_err(|error| TokenizerError::Vocabulary(error.to_string()))?;
        Ok(Self {
            stages,
            ignores_merges,
        })
    }

    /// Calls `each` with the pieces of `text`, in order; together they are `text`.
    pub(super) fn cut<E>(
        &self,
        text: &str,
        each: &mut impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        cut(&self.stages, text, each)
    }
}

fn cut<E>(
    stages: &[Stage],
    text: &str,
    each: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let Some((stage, later)) = stages.split_first() else {
        return each(text);
    };
    let mut at = 0;
    while at < text.len() {
        let (start, end) = stage.next(text, at);
        for piece in [&text[at..start], &text[start..end]] {
            if !piece.is_empty() {
                cut(later, piece, each)?;
            }
        }
        at = end;
    }
    Ok(())
}

impl Stage {
    fn words(pattern: &str, line_breaks_close: bool) -> Result<Self, regex::Error> {
        Ok(Self {
            pattern: Regex::new(pattern)?,
            line_breaks_close,
            words: true,
        })
    }

    /// Every match is a piece, and so is what lies between matches.
    fn alone(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self {
            pattern: Regex::new(pattern)?,
            line_breaks_close: false,
            words: false,
        })
    }

    /// The next match from `at` on; an empty one at the end of the text if there is none.
    fn next(&self, text: &str, at: usize) -> (usize, usize) {
        let Some(found) = self.pattern.find_at(text, at) else {
            return (text.len(), text.len());
        };
        let end = found.end();
        let piece = found.as_str();
        let closed = self.line_breaks_close && piece.ends_with(['\r', '\n']);
        if !self.words || closed || end == text.len() || !piece.chars().all(char::is_whitespace) {
            return (found.start(), end);
        }
        // `\s+` before a word: all but the last character, unless it is the only one.
        match piece.char_indices().next_back() {
            Some((last, _)) if last > 0 => (found.start(), found.start() + last),
            _ => (found.start(), end),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        PreTokenizer::named(name)
            .unwrap()
            .cut(text, &mut |piece: &str| {
                pieces.push(piece.to_owned());
                Ok::<_, ()>(())
            })
            .unwrap();
        assert_eq!(pieces.concat(), text);
        pieces
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        assert_eq!(pieces("qwen2", "a   b"), ["a", "  ", " b"]);
        assert_eq!(pieces("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(
            pieces("qwen2", "a  \n\n  b  "),
            ["a", "  \n\n", " ", " b", "  "]
        );
        assert_eq!(pieces("qwen2", "\t\tx"), ["\t", "\tx"]);
    }

    #[test]
    fn digits_are_cut_as_each_family_does() {
        assert_eq!(pieces("qwen2", "in 2024"), ["in", " ", "2", "0", "2", "4"]);
        assert_eq!(pieces("llama-bpe", "20245"), ["202", "45"]);
        assert_eq!(pieces("gpt-2", "in 2024"), ["in", " 2024"]);
        assert_eq!(
            pieces("smollm", "in  2024"),
            ["in", "  ", "2", "0", "2", "4"]
        );
    }

    #[test]
    fn contractions_and_their_case() {
        assert_eq!(pieces("qwen2", "I'M we'll"), ["I", "'M", " we", "'ll"]);
        assert_eq!(pieces("gpt-2", "I'M"), ["I", "'", "M"]);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(matches!(
            PreTokenizer::named("chameleon"),
            Err(TokenizerError::PreTokenizer(name)) if name == "chameleon"
        ));
    }
}
