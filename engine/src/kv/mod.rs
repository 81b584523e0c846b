//! The key/value cache on disk: what a model computed while it read a document, kept so that it is never computed
//! again.
//!
//! In: the keys and values of whole blocks of 64 tokens, in order, with the ids of those tokens. Out: a
//! [`KvView`], a snapshot of all sealed blocks as slices of a memory map, which `attention` reads in place.
//!
//! One folder a cache (one text, one model, one prompt prefix, one format), named by [`CacheIdentity::folder_name`]:
//!
//! | file | |
//! |---|---|
//! | `manifest.json` | whose cache this is and what shape it has; for people and for the check on opening |
//! | `blocks.kv` | the blocks, append-only; see [`header`] for the bytes |
//! | `scores` | how much each token is worth to each head, where that was measured; see [`Scores`] |
//! | `lock` | held by the one process that has the cache open |
//! | `last_used` | empty; its modification time is when the cache was last opened or touched |
//!
//! **Why blocks, and all layers of a block together:** appending 64 tokens is then one sequential write, and a torn
//! write can only hurt the end of the file. **Why no commit record:** each block checks itself (header and every
//! layer's part carry a checksum, and the token hash is chained), so the valid prefix is found by looking. A chunk
//! is written, `fdatasync`ed, and only then seen by readers; a crash loses at most that chunk.
//! **Why one checksum a layer, not a block:** whoever reads only some layers of a block (a sparse read) must not
//! have to read the others to trust it.
//! **Why keys un-rotated and without bias:** see [`lectern_models::attention`]. **Why codes:** see [`format`]; sealed
//! blocks are never decoded as a whole, attention works on their codes.
//! **What may be left out:** tokens that a head can do without, if the person wants caches smaller than codes make them
//! ([`KvCache::thin`]). Blocks then differ in size, which their headers say.
//!
//! Cost: opening reads one header (about 512 bytes) a block and the payload of the last append only; 32,768 tokens
//! are 512 headers. A part is hashed once, when it is first used.

mod adopt;
mod append;
mod cache;
mod error;
pub mod format;
pub mod header;
mod identity;
mod kept;
mod listing;
mod manifest;
mod mend;
mod open_block;
mod recovery;
mod scores;
mod shape;
mod storage;
#[cfg(test)]
mod tests;
mod thin;
#[cfg(test)]
mod thin_tests;
mod view;

pub use adopt::Donor;
pub use cache::{KvCache, Recovery};
pub use error::KvError;
pub use format::{BlockFormat, Codes, FORMAT_F16, Part, PartCodes, PartHalves};
pub use identity::CacheIdentity;
pub use kept::Kept;
pub use listing::{CacheEntry, list, remove, victims};
pub use open_block::OpenBlock;
pub use scores::{Scores, worth};
pub use shape::KvShape;
pub use view::KvView;

/// Tokens of a block.
pub const BLOCK_TOKENS: usize = 64;
