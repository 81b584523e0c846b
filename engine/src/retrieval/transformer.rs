//! The sentence transformer that says what passages are about.

use super::Ranked;
use super::meaning::{code, cosine, text_number, with_meaning};
use super::rank::EARLIER;
use crate::document::{Document, DocumentKind, Span};
use lectern_models::{Catalogue, Embedder, EmbedderError, Fit, Spelled};
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Passages, spread over a document, by which it is told whether the transformer knows its language.
const SAMPLED: usize = 16;

/// Raised when the same file comes to be used in another way.
const VERSION: u64 = 1;

/// Vectors of a document's passages, coded, by the [number](super::text_number) of the passage's text.
pub type Vectors = HashMap<u64, Vec<u8>>;

/// A sentence transformer, loaded.
pub struct Transformer {
    embedder: Embedder,
    number: u64,
}

impl Transformer {
    /// Passages that are best given at once to [`Transformer::codes`]: they keep all threads busy, and on two slow cores are done in a
    /// tenth of a second.
    pub const TOGETHER: usize = 8;

    /// That of the catalogue, if it is here.
    ///
    /// # Errors
    /// [`EmbedderError`], if its file is not what it should be.
    pub fn of_catalogue(catalogue: &Catalogue) -> Result<Option<Transformer>, EmbedderError> {
        let Some(entry) = catalogue
            .embedder()
            .filter(|entry| catalogue.is_installed(entry))
        else {
            return Ok(None);
        };
        let tokenizer_bytes = entry.parts.first().copied().unwrap_or_default();
        let identity = entry.sha256.as_ref().unwrap_or(&entry.name);
        Ok(Some(Transformer {
            embedder: Embedder::open(&catalogue.path(entry), tokenizer_bytes)?,
            number: xxh3_64(identity.as_bytes()) ^ VERSION,
        }))
    }

    /// Under which its vectors are kept: those of another one are not comparable.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a document is in a language that it knows; of another one its vectors say nothing. Nor do they of source code,
    /// where questions name what they are about (`docs/long-context.md`).
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub fn speaks(&self, document: &Document, passages: &[Span]) -> Result<bool, EmbedderError> {
        if document.kind == DocumentKind::Code {
            return Ok(false);
        }
        let step = passages.len().div_ceil(SAMPLED).max(1);
        let mut fit = Fit::default();
        for passage in passages.iter().step_by(step) {
            let text = passage.of(&document.text).unwrap_or_default();
            fit = fit.and(self.embedder.fit(text)?);
        }
        Ok(fit.is_spoken())
    }

    /// The vectors of passages, coded.
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub fn codes(&self, passages: &[&str]) -> Result<Vec<Vec<u8>>, EmbedderError> {
        let vectors = self.embedder.embed(passages)?;
        Ok(vectors.iter().map(|vector| code(vector)).collect())
    }

    /// Ranks all passages of a text for a question as [`with_meaning`] does: by words, which is done (`ranked`), and by
    /// their vectors. What was said in the turn before counts as in [`rank`](super::rank()).
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub fn rank(
        &self,
        ranked: &[Ranked],
        text: &str,
        passages: &[Span],
        vectors: &Vectors,
        question: &str,
        earlier: Option<&str>,
    ) -> Result<Vec<Ranked>, EmbedderError> {
        if vectors.is_empty() {
            return Ok(ranked.to_vec());
        }
        let said: Vec<&str> = std::iter::once(question).chain(earlier).collect();
        let spoken = self.embedder.embed(&said)?;
        let mut asked = vec![0.0; spoken[0].len()];
        for (vector, weight) in spoken.iter().zip([1.0, EARLIER as f32]) {
            for (number, said) in asked.iter_mut().zip(vector) {
                *number += weight * said;
            }
        }
        let near = |span: Span| {
            let vector = vectors.get(&text_number(span.of(text)?))?;
            Some(cosine(&asked, vector))
        };
        let nearness: Vec<(Span, Option<f64>)> =
            passages.iter().map(|span| (*span, near(*span))).collect();
        Ok(with_meaning(ranked, &nearness))
    }

    /// Texts as vectors, and each of their tokens.
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub(super) fn spell(&self, texts: &[&str]) -> Result<Vec<Spelled>, EmbedderError> {
        self.embedder.spell(texts)
    }

    /// The cosines of a question and each of these texts.
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub fn cosines(&self, question: &str, texts: &[&str]) -> Result<Vec<f64>, EmbedderError> {
        let asked = self.embedder.embed(&[question])?;
        let mut cosines = Vec::with_capacity(texts.len());
        for texts in texts.chunks(Transformer::TOGETHER) {
            let coded = self.codes(texts)?;
            cosines.extend(coded.iter().map(|code| cosine(&asked[0], code)));
        }
        Ok(cosines)
    }

    /// Whether a question is in a language that it knows.
    ///
    /// # Errors
    /// [`EmbedderError`].
    pub(super) fn understands(&self, question: &str) -> Result<bool, EmbedderError> {
        Ok(self.embedder.fit(question)?.is_spoken())
    }
}
