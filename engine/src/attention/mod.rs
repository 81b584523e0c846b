//! Attention over a cache: what a model's forward pass calls to look back at the document.
//!
//! In: a [`KvView`](crate::kv::KvView) of sealed blocks, and layer by layer a chunk's queries, keys and values. Out:
//! the attended values. [`DenseAttention`] looks at everything, exactly.
//!
//! **How.** FlashAttention (Dao et al. 2022, arXiv 2205.14135) on a CPU: for each key/value head, tiles of query rows
//! (all query heads that share it) meet the cache one block of 64 keys at a time. A block's keys are widened to F32,
//! transposed, given their bias and turned to their position once for a whole tile; scores of at most 24 rows by 64
//! keys exist at a time. For a few rows (decoding) the keys are split among threads as in Flash-Decoding.
//!
//! **Why results do not depend on how the work is cut.** A row's keys are always taken in the same order: blocks at
//! multiples of 64 positions, in spans of 8 blocks, each span summed from nothing, spans merged from first to last.
//! Neither the chunk a row came in, nor the rows beside it, nor the number of threads, nor whether a key is still in
//! memory or sealed changes one operation of it. So a document read in one go, or in pieces, or again after a crash
//! gives the same bytes, and a cache can be compared bit by bit. (`LECTERN_KERNELS` does change the last bits: it
//! chooses instructions that round differently.)
//!
//! **Cost.** `4 * head_dim` FLOP a query head and key, about 86 K (0.5B) or 172 K (1.5B) a token and cached token
//! over all layers; memory beyond the cache: the tail (as large a token as the cache itself) and less than 1 MB of
//! scratch a thread.

mod cancel;
mod dense;
pub mod kernels;
mod mass;
mod rotation;
mod softmax;
mod span;
mod tail;

#[cfg(test)]
mod reference;

pub use cancel::CancelFlag;
pub use dense::DenseAttention;
