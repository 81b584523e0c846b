//! Text to token ids and back, with the vocabulary that a GGUF file carries.
//!
//! In: UTF-8 text. Out: ids, with the byte of the text at which each token starts. Byte-level BPE
//! (`tokenizer.ggml.model` = `gpt2`) with the merges of the `tokenizers` crate; the ids are llama.cpp's. The crate's
//! whole pipeline is not used: it keeps a second, aligned copy of the text, some 100 bytes for each character, while
//! here a document is cut and merged piece by piece, and offsets follow from the length of each token.
//!
//! Two ways in, on purpose. [`encode`](Tokenizer::encode) is for documents and questions, which are written by
//! anybody: text that looks like `<|im_end|>` stays text (control and user-defined tokens are not even in its
//! vocabulary). [`encode_prompt`](Tokenizer::encode_prompt) is for rendered templates, and recognises them.

mod byte_level;
mod pretokenizer;
mod stream;

use std::collections::{HashMap, HashSet};

use regex::Regex;
use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Vocab};

use crate::gguf::{Gguf, Metadata};
use pretokenizer::PreTokenizer;
pub use stream::TokenStream;

/// Longest piece, in bytes, that is merged as a whole. Merging keeps some 100 bytes for each byte of a piece; only
/// text without any space or punctuation for pages is cut by this, and then its ids may differ from llama.cpp's.
const LONGEST_PIECE: usize = 1 << 16;

/// Names of tokens with which models end a turn, where the metadata does not say (as in llama.cpp).
const ENDS_OF_TURN: [&str; 7] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
];

/// Why a vocabulary cannot be used, or a text not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The vocabulary is not byte-level BPE.
    #[error("it is of kind {0:?}; Lectern reads byte-level BPE (\"gpt2\")")]
    Kind(String),
    /// The way of cutting text into pieces is not known here.
    #[error("it cuts text in a way called {0:?}, which Lectern does not know")]
    PreTokenizer(String),
    /// A list that is needed is missing or has another length than the others.
    #[error("its list {0} is missing or of the wrong length")]
    List(&'static str),
    /// Tokens and merges do not fit together.
    #[error("it contradicts itself: {0}")]
    Vocabulary(String),
    /// A text of more than 4 GiB.
    #[error("a text of {0} bytes is longer than 4 GiB")]
    TooLong(usize),
}

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The byte of the text at which it starts. A token may start or end inside a character.
    pub start: u32,
}

/// What a token is for: GGUF's `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Steers the model and has no text of its own: `<|im_end|>`.
    Control,
    /// Text that is never cut: `<tool_call>`.
    UserDefined,
    /// A row of the table that no token uses.
    Unused,
}

impl Kind {
    fn of(number: i64) -> Self {
        match number {
            2 | 3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            _ => Self::Text,
        }
    }
}

/// The tokenizer of one model.
pub struct Tokenizer {
    pretokenizer: PreTokenizer,
    merges: BPE,
    /// All tokens' bytes, one after the other; token `i` is `bytes[ends[i - 1]..ends[i]]`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Control and user-defined tokens by name.
    special: HashMap<String, u32>,
    /// Matches the longest name of a special token; `None` if there are none.
    special_names: Option<Regex>,
    beginning_of_text: Option<u32>,
    end_of_text: Vec<u32>,
}

impl Tokenizer {
    pub(crate) fn of(file: &Gguf) -> Result<Self, TokenizerError> {
        let metadata = file.metadata();
        let kind = metadata.string("tokenizer.ggml.model").unwrap_or("none");
        if kind != "gpt2" {
            return Err(TokenizerError::Kind(kind.to_owned()));
        }
        let pretokenizer =
            PreTokenizer::named(metadata.string("tokenizer.ggml.pre").unwrap_or("default"))?;
        let tokens = metadata
            .strings("tokenizer.ggml.tokens")
            .ok_or(TokenizerError::List("tokenizer.ggml.tokens"))?;
        let kinds: Vec<Kind> = match metadata.integers("tokenizer.ggml.token_type") {
            Some(kinds) if kinds.len() == tokens.len() => {
                kinds.iter().map(|&kind| Kind::of(kind)).collect()
            }
            Some(_) => return Err(TokenizerError::List("tokenizer.ggml.token_type")),
            None => vec![Kind::Text; tokens.len()],
        };
        let merges = merges(metadata, tokens, &kinds, pretokenizer.ignores_merges)?;

        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(tokens.len());
        let mut special = HashMap::new();
        for (id, (token, kind)) in tokens.iter().zip(&kinds).enumerate() {
            match kind {
                Kind::Text => match byte_level::unspell(token) {
                    Some(spelled) => bytes.extend(spelled),
                    None => bytes.extend_from_slice(token.as_bytes()),
                },
                Kind::UserDefined => bytes.extend_from_slice(token.as_bytes()),
                Kind::Control | Kind::Unused => {}
            }
            ends.push(bytes.len() as u32);
            if matches!(kind, Kind::Control | Kind::UserDefined) && !token.is_empty() {
                special.insert(token.clone(), id as u32);
            }
        }
        let id = |key: &str| {
            let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
            (id < tokens.len()).then_some(id as u32)
        };
        let mut end_of_text: Vec<u32> = ["eos", "eot", "eom"]
            .iter()
            .copied()
            .filter_map(id)
            .collect();
        end_of_text.extend(ENDS_OF_TURN.iter().filter_map(|&name| special.get(name)));
        end_of_text.sort_unstable();
        end_of_text.dedup();
        Ok(Self {
            special_names: any_of(special.keys())?,
            beginning_of_text: id("bos"),
            pretokenizer,
            merges,
            bytes,
            ends,
            special,
            end_of_text,
        })
    }

    /// The ids of a text. Text that looks like a special token stays text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        self.each_token(text, &mut |id, _| ids.push(id))?;
        Ok(ids)
    }

    /// The ids of a text of up to 4 GiB, each with the byte at which its token starts. Memory: 8 bytes a token.
    pub fn encode_with_offsets(&self, text: &str) -> Result<Vec<Token>, TokenizerError> {
        if u32::try_from(text.len()).is_err() {
            return Err(TokenizerError::TooLong(text.len()));
        }
        let mut tokens = Vec::with_capacity(text.len() / 3);
        self.each_token(text, &mut |id, start| {
            tokens.push(Token {
                id,
                start: start as u32,
            });
        })?;
        Ok(tokens)
    }

    /// The ids of a rendered chat template: the names of special tokens become those tokens. Never for text that
    /// somebody else wrote.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, TokenizerError> {
        let Some(names) = &self.special_names else {
            return self.encode(prompt);
        };
        let mut ids = Vec::new();
        let mut at = 0;
        for name in names.find_iter(prompt) {
            ids.extend(self.encode(&prompt[at..name.start()])?);
            ids.extend(self.special.get(name.as_str()));
            at = name.end();
        }
        ids.extend(self.encode(&prompt[at..])?);
        Ok(ids)
    }

    /// Text of some tokens; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|&id| self.bytes(id))
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Decodes an answer as it comes.
    pub fn stream(&self) -> TokenStream<'_> {
        TokenStream::new(self)
    }

    /// The bytes of text that a token stands for; none for control tokens and unknown ids.
    pub fn bytes(&self, token: u32) -> &[u8] {
        let token = token as usize;
        let Some(&end) = self.ends.get(token) else {
            return &[];
        };
        let start = token.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..end as usize]
    }

    /// The id of a control or user-defined token, by its name: `<|im_end|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.special.get(name).copied()
    }

    /// The token with which the model expects a text to begin, where it has one.
    pub fn beginning_of_text(&self) -> Option<u32> {
        self.beginning_of_text
    }

    /// The tokens with which the model ends a turn or a text.
    pub(crate) fn ends_of_turn(&self) -> Vec<u32> {
        self.end_of_text.clone()
    }

    /// The name of a special token.
    pub(crate) fn special_name(&self, id: u32) -> Option<&str> {
        let (name, _) = self.special.iter().find(|(_, known)| **known == id)?;
        Some(name)
    }

    /// Calls `each` with the id and the first byte of every token.
    fn each_token(
        &self,
        text: &str,
        each: &mut impl FnMut(u32, usize),
    ) -> Result<(), TokenizerError> {
        let mut start = 0;
        let mut spelled = String::new();
        self.pretokenizer.cut(text, &mut |piece: &str| {
            let mut rest = piece;
            while !rest.is_empty() {
                let (part, later) = rest.split_at(rest.floor_char_boundary(LONGEST_PIECE));
                byte_level::spell(part.as_bytes(), &mut spelled);
                self.merge(&spelled, start, each)?;
                start += part.len();
                rest = later;
            }
            Ok(())
        })
    }

    /// Merges one spelled piece that begins at byte `start`.
    fn merge(
        &self,
        spelled: &str,
        start: usize,
        each: &mut impl FnMut(u32, usize),
    ) -> Result<(), TokenizerError> {
        let tokens = self
            .merges
            .tokenize(spelled)
            .map_err(|error| TokenizerError::Vocabulary(error.to_string()))?;
        let (mut at, mut byte) = (0, start);
        for token in tokens {
            // A vocabulary without some byte gives no token for it: the gap counts one byte for each character.
            byte += spelled[at..token.offsets.0].chars().count();
            each(token.id, byte);
            byte += spelled[token.offsets.0..token.offsets.1].chars().count();
            at = token.offsets.1;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.ends.len())
            .field("special", &self.special.len())
            .finish_non_exhaustive()
    }
}

/// The BPE of a vocabulary: its text tokens, and whatever else its merges make.
fn merges(
    metadata: &Metadata,
    tokens: &[String],
    kinds: &[Kind],
    ignores_merges: bool,
) -> Result<BPE, TokenizerError> {
    let list = metadata
        .strings("tokenizer.ggml.merges")
        .ok_or(TokenizerError::List("tokenizer.ggml.merges"))?;
    let mut merges = Vec::with_capacity(list.len());
    let mut merged = HashSet::with_capacity(list.len());
    for merge in list {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            TokenizerError::Vocabulary(format!("the merge {merge:?} does not name two tokens"))
        })?;
        merged.insert([left, right].concat());
        merges.push((left.to_owned(), right.to_owned()));
    }
    let vocabulary: Vocab = tokens
        .iter()
        .zip(kinds)
        .enumerate()
        .filter(|(_, (token, kind))| **kind == Kind::Text || merged.contains(*token))
        .map(|(id, (token, _))| (token.clone(), id as u32))
        .collect();
    BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(ignores_merges)
        .build()
        .map_err(|error| TokenizerError::Vocabulary(error.to_string()))
}

/// Matches any of the names, the longest where one begins another.
fn any_of<'a>(names: impl Iterator<Item = &'a String>) -> Result<Option<Regex>, TokenizerError> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let escaped: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
    Regex::new(&escaped.join("|"))
        .map(Some)
        .map_err(|error| TokenizerError::Vocabulary(error.to_string()))
}
