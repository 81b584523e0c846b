//! Tokens to text, as they come.

use super::Tokenizer;

/// Decodes an answer token by token. A character whose bytes are spread over several tokens is held back until it is
/// whole; tokens that carry no text (end of turn and the like) give none.
#[derive(Debug)]
pub struct TokenStream<'a> {
    tokenizer: &'a Tokenizer,
    pending: Vec<u8>,
}

impl<'a> TokenStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
        }
    }

    /// Takes a token and gives the text that is now whole, if any. Bytes that can never become a character are given
    /// as U+FFFD.
    pub fn push(&mut self, token: u32) -> Option<String> {
        self.pending.extend_from_slice(self.tokenizer.bytes(token));
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.pending.clear();
                    break;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let Some(broken) = error.error_len() else {
                        self.pending.drain(..valid);
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..valid + broken);
                }
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// Ends the stream. Gives U+FFFD if it stopped inside a character.
    pub fn finish(self) -> Option<String> {
        (!self.pending.is_empty()).then(|| String::from_utf8_lossy(&self.pending).into_owned())
    }
}
