//! Attention over a cache: what a model's forward pass calls to look back at the document.
//!
//! In: a [`KvView`](crate::kv::KvView) of sealed blocks, and layer by layer a chunk's queries, keys and values. Out:
//! the attended values. [`DenseAttention`] looks at everything, exactly, or at the pages that `sparse` chooses.
//!
//! **How.** FlashAttention (Dao et al. 2022, arXiv 2205.14135) on a CPU: for each key/value head, tiles of query rows
//! (all query heads that share it) meet the cache one block of 64 keys at a time. A block's keys are widened to F32,
//! given their bias and turned to their places once for a whole tile, straight from codes where they are codes; scores
//! of at most 24 rows by 64 keys exist at a time. Keys in codes of 4 bits are multiplied as integers of 16
//! bits ([`kernels::WholeKeys`]), values in codes of 4 bits weighted as integers, with weights of 8
//! ([`kernels::SpreadValues`]); all else is in F32. For a few rows (decoding) the keys are split among threads as in
//! Flash-Decoding.
//!
//! **Why results do not depend on how the work is cut.** A row's keys are always taken in the same order: blocks at
//! multiples of 64 positions, in spans of 8 blocks, each span summed from nothing, spans merged from first to last.
//! Neither the rows beside it, nor the pass it came in, nor the number of threads changes one operation of it.
//! (`LECTERN_KERNELS` does change the last bits: it chooses instructions that round differently.)
//!
//! **What a row sees of a cache in codes.** What is sealed, as it was sealed: the first block in half precision, the
//! others as codes. What is still in the tail, in half precision. So it matters where the tail begins, and reading
//! fixes that: it seals every chunk, and chunks begin at multiples of their size. A document read in one go, or in
//! pieces, or again after a crash therefore gives the same bytes, and a cache can be compared bit by bit. Over a cache
//! in half precision not even that matters.
//!
//! **Cost.** `4 * head_dim` FLOP a query head and key, about 86 K (0.5B) or 172 K (1.5B) a token and cached token
//! over all layers; memory beyond the cache: the tail (as large a token as the cache itself) and less than 1 MB of
//! scratch a thread.

mod cancel;
mod dense;
mod drawn;
#[cfg(feature = "cuda")]
mod gpu;
pub mod kernels;
mod mass;
mod peaks;
mod recorded;
mod rotation;
mod softmax;
mod span;
mod sparse;
mod tail;
mod threads;

#[cfg(test)]
mod coded;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod sparsely;

pub use cancel::{CancelFlag, Wanted};
pub use dense::DenseAttention;
pub(crate) use drawn::drawn;
#[cfg(feature = "cuda")]
pub use gpu::{GpuRead, remember_gpu_checks_in};
pub use sparse::{KeptIndex, PagePolicy, Recall, SparseRead};
