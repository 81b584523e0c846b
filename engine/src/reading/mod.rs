//! Reading a document: what is prefilled once, so that questions need not.

mod prompt;

pub use prompt::{PromptError, Suffix, Turn, prefix, suffix};
