//! Reading a document: a model goes over all its tokens once, and what it computed is kept.
//!
//! In: a model, the prompt's prefix and the document's tokens, and an open [`KvCache`](crate::kv::KvCache). Out: the cache holds keys and
//! values of every token, and questions can be put behind it ([`crate::attention::DenseAttention`]).
//!
//! Reading goes in chunks of [`CHUNK_TOKENS`], on a GPU of twice as many. Between chunks others may take the machine; a question goes first,
//! and what nobody waits for gives up the chunk it is at. Each chunk is on disk before the next begins: stopping, pausing, a crash or a full disk costs one chunk.
//! A reading that goes on starts where a chunk begins, so it computes the same chunks as one that was never
//! interrupted, and the caches are equal byte for byte.

mod again;
mod error;
mod mend;
mod messages;
mod pace;
mod prompt;
mod read;
mod segments;

pub use crate::attention::{CancelFlag, Wanted};
pub use again::{score, thin};
pub use error::ReadingError;
pub use lectern_protocol::ReadProgress;
pub use mend::mend;
pub use messages::messages;
pub use pace::{Pace, TokenCost};
pub(crate) use prompt::asked;
pub use prompt::{PromptError, Suffix, Turn, around_text, gap, prefix, suffix};
#[cfg(feature = "cuda")]
pub use read::GPU_CHUNK_TOKENS;
pub use read::{CHUNK_TOKENS, Followers, ReadingInput, read};
pub use segments::{Choice, SEGMENT_TOKENS, Segments};
