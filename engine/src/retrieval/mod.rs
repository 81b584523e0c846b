//! Finding the part of a document that matters.
//!
//! In: a document, or words, or vectors. Out: passages (cut once, when a document is stored), passages ranked for a question
//! by BM25, by what of a codebase it names and by the nearness of vectors that others computed, and every place where a
//! phrase stands.
//!
//! Why BM25 first: it needs no second model, is exact about names and numbers, and works in every language. The rank decides
//! what is looked at of documents that are read in segments, and what is read of those that are not read.

mod find;
mod language;
mod meaning;
mod named;
mod nearness;
mod overview;
mod passages;
mod rank;
mod structure;
mod transformer;

pub use find::{Found, find};
pub use language::language_to_ask_in;
pub use meaning::{text_number, with_meaning};
pub use named::raise_named;
pub use nearness::{Nearest, Nearness};
pub use overview::asks_for_the_whole;
pub use passages::passages;
pub use rank::{Ranked, alike, pick, rank};
pub use structure::map_passages;
pub use transformer::{Transformer, Vectors};
