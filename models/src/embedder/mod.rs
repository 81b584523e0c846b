//! Texts as vectors, near to each other where they are about the same thing, whatever their words.
//!
//! In: a sentence transformer (Reimers and Gurevych 2019, arXiv 1908.10084) of BERT's architecture, its tokenizer and its
//! tensors in one file, and texts. Out: a vector of length one for each; the cosine of two is their product.
//!
//! Why not candle-transformers' forward pass, which the tests compare this one with: it took a quarter of the time in which
//! a document is read, most of it in copies and in threads that wait awake ([`packed`](crate::packed) has the same of
//! candle's products).
//!
//! Memory: see [`encoder`].

mod encoder;
mod loops;
mod strided;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use encoder::{Encoder, WIDTH, mean};
use memmap2::Mmap;
use tokenizers::{Tokenizer, TruncationParams};

/// Tokens of a text that are looked at; the rest is left out. The models are trained on less.
const MOST_TOKENS: usize = 256;

/// Token that stands for a word whose letters the vocabulary does not have.
const UNKNOWN: &str = "[UNK]";

/// Why the file cannot be used, or a text not be embedded.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// The file is missing or may not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is shorter than its parts.
    #[error("{path} is not whole", path = path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer in it is none, or fails on a text.
    #[error("the tokenizer of the embeddings: {0}")]
    Tokenizer(String),
    /// The tensors in it are none, or one is missing.
    #[error("the tensors of the embeddings: {0}")]
    Tensors(#[from] safetensors::SafeTensorError),
    /// A tensor is not one of this architecture.
    #[error(
        "the tensor {name} of the embeddings is {found:?} and not {wanted:?} numbers of 32 bits"
    )]
    Shape {
        /// Its name.
        name: String,
        /// Rows, and columns.
        wanted: Vec<usize>,
        /// Those of the file.
        found: Vec<usize>,
    },
    /// Its weights cannot be rounded.
    #[error("the weights of the embeddings: {0}")]
    Rounding(#[from] candle_core::Error),
    /// There is no memory for its weights.
    #[error("no memory for the embeddings: {0}")]
    Memory(#[source] io::Error),
}

/// A loaded sentence transformer.
pub struct Embedder {
    tokenizer: Tokenizer,
    encoder: Encoder,
    unknown: Option<u32>,
}

/// A text, and each token of it, as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Spelled {
    /// Of the text, as [`Embedder::embed`] gives it.
    pub vector: Vec<f32>,
    /// Of its tokens, in order; the ones that only begin and end a text are left out.
    pub tokens: Vec<SpelledToken>,
}

/// A token where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SpelledToken {
    /// As the vocabulary has it, in small letters; `##` before what goes on a word.
    pub piece: String,
    /// What it means there, of length one.
    pub vector: Vec<f32>,
}

/// How a vocabulary fits a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fit {
    /// Words of the text that was looked at.
    pub words: usize,
    /// Pieces into which they were cut.
    pub pieces: usize,
    /// Words among them that the vocabulary cannot spell.
    pub unknown: usize,
}

impl Fit {
    /// Whether the text is in a language of the vocabulary's. With that of all-MiniLM-L6-v2 a word takes 1.08 to 1.12 pieces
    /// of English prose and source code, 1.54 to 1.71 of French, German and Spanish; of Chinese 0.61 of the words
    /// are unknown, and vectors of it harm a rank by words.
    pub fn is_spoken(&self) -> bool {
        self.words > 0 && 100 * self.pieces <= 135 * self.words && 50 * self.unknown <= self.words
    }

    /// Of both texts.
    #[must_use]
    pub fn and(self, other: Fit) -> Fit {
        Fit {
            words: self.words + other.words,
            pieces: self.pieces + other.pieces,
            unknown: self.unknown + other.unknown,
        }
    }
}

impl Embedder {
    /// Opens a file of two parts: `tokenizer.json`, so many bytes long, and `model.safetensors`.
    pub fn open(path: &Path, tokenizer_bytes: u64) -> Result<Embedder, EmbedderError> {
        let unreadable = |source| EmbedderError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the file is only read, and models are replaced by renaming, never written in place.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let tensors = tokenizer_bytes as usize;
        let (tokenizer, _) =
            map.split_at_checked(tensors)
                .ok_or_else(|| EmbedderError::NotWhole {
                    path: path.to_owned(),
                })?;
        let not_one = |error: tokenizers::Error| EmbedderError::Tokenizer(error.to_string());
        let mut tokenizer = Tokenizer::from_bytes(tokenizer).map_err(not_one)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: MOST_TOKENS,
                ..TruncationParams::default()
            }))
            .map_err(not_one)?;
        let most = tokenizer.get_vocab(true).into_values().max();
        let vocabulary = most.map_or(0, |most| most as usize + 1);
        Ok(Embedder {
            unknown: tokenizer.token_to_id(UNKNOWN),
            encoder: Encoder::load(map, tensors, vocabulary)?,
            tokenizer,
        })
    }

    /// The vectors of texts, 384 numbers each. What several texts share of the work is done once.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedderError> {
        self.each(texts, |_, rows| mean(rows.iter().copied()))
    }

    /// The vectors of texts, and of their tokens.
    pub fn spell(&self, texts: &[&str]) -> Result<Vec<Spelled>, EmbedderError> {
        self.each(texts, |encoding, rows| {
            let pieces = encoding.get_tokens().iter().zip(rows);
            let inside = pieces.zip(encoding.get_special_tokens_mask());
            let inside = inside.filter(|(_, special)| **special == 0);
            let tokens = inside.map(|((piece, row), _)| SpelledToken {
                piece: piece.clone(),
                vector: mean(std::iter::once(*row)),
            });
            Spelled {
                tokens: tokens.collect(),
                vector: mean(rows.iter().copied()),
            }
        })
    }

    /// What `of` makes of each text's tokens and their last hidden states.
    fn each<T>(
        &self,
        texts: &[&str],
        of: impl Fn(&tokenizers::Encoding, &[&[f32]]) -> T,
    ) -> Result<Vec<T>, EmbedderError> {
        let encode = |text: &&str| self.encode(text);
        let encoded = texts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<&[u32]> = encoded.iter().map(|encoding| encoding.get_ids()).collect();
        let hidden = self.encoder.hidden(&ids);
        let mut rows = hidden.chunks_exact(WIDTH);
        let each = encoded.iter().map(|encoding| {
            let rows: Vec<&[f32]> = rows.by_ref().take(encoding.get_ids().len()).collect();
            of(encoding, &rows)
        });
        Ok(each.collect())
    }

    /// How the vocabulary fits a text.
    pub fn fit(&self, text: &str) -> Result<Fit, EmbedderError> {
        let encoding = self.encode(text)?;
        let inside = encoding.get_special_tokens_mask().iter();
        let inside: Vec<usize> = inside
            .enumerate()
            .filter_map(|(place, special)| (*special == 0).then_some(place))
            .collect();
        let ids = encoding.get_ids();
        let goes_on = |place: &usize| encoding.get_tokens()[*place].starts_with("##");
        let pieces = inside.len();
        Ok(Fit {
            words: pieces - inside.iter().filter(|place| goes_on(place)).count(),
            pieces,
            unknown: inside
                .iter()
                .filter(|place| Some(ids[**place]) == self.unknown)
                .count(),
        })
    }

    fn encode(&self, text: &str) -> Result<tokenizers::Encoding, EmbedderError> {
        self.tokenizer
            .encode(text, true)
            .map_err(|error| EmbedderError::Tokenizer(error.to_string()))
    }
}
