//! Finding the part of a document that matters, without a model.
//!
//! In: a document, or words. Out: passages (cut once, when a document is stored), passages ranked for a question by
//! BM25, and every place where a phrase stands.
//!
//! Why BM25 and not embeddings: it needs no second model, is exact about names and numbers, and works in every
//! language. It decides what is looked at of documents that are read in segments, and what is read of those that are not read.

mod find;
mod overview;
mod passages;
mod rank;
mod structure;

pub use find::{Found, find};
pub use overview::asks_for_the_whole;
pub use passages::passages;
pub use rank::{Ranked, alike, pick, rank};
pub use structure::map_passages;
