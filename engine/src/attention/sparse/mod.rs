//! Looking at a part of the cache: at question time each layer and key/value head attends to the first page, the last
//! few, and those of the others that promise most.
//!
//! In: the sealed pages of a cache (a page is a block of 64 keys), once for each head, and query rows turned to their
//! positions. Out: for every page an estimate of the attention it would get ([`PageIndex`]), and from these the pages to
//! attend to within a budget ([`SparseRead`]).
//!
//! **Why it is exact about what it looks at.** A page that is chosen is attended to as dense attention would, code by
//! code; only the choice is an estimate. A row chooses for itself, so its result depends neither on the rows beside it
//! nor on the pass it came in, and guessed tokens can be checked in one pass without changing the answer. Where all
//! pages are within the budget the result is that of dense attention, to the last bit.
//!
//! **Why the index is not a file.** It is made from the keys' codes when a cache is first asked, at some microseconds a
//! page and head, which is about what checking the pages' checksums costs anyway; on disk it would take the cache
//! beyond three tenths of half precision (bounds of 8 bits a channel are 96 bytes a token for the 0.5B model, 33 are
//! left). So it cannot be stale, and what it was made from was checked.
//!
//! **Policies**, each in its own file with its source: [`bounds`], [`clusters`], [`moments`], [`signs`], [`keys`],
//! [`hashes`], [`window`] (the floor) and [`exact`] (what a choice of pages could reach at best; as expensive as looking
//! at all keys, for measurement) say what pages are worth to a row. With [`probe`], [`antidiagonals`] and [`pruned`] the
//! rows of a tile, or all heads of a layer, choose together: they are measured, and not offered to questions, since an
//! answer would depend on how its tokens came.

mod antidiagonals;
mod bounds;
mod clusters;
mod columns;
mod exact;
mod hashes;
mod index;
mod kept;
mod keys;
mod moments;
mod pick;
mod probe;
mod pruned;
mod recall;
mod signs;
#[cfg(test)]
mod tests;
mod window;

use super::kernels::Kernels;
pub(super) use index::{Choosers, Sparse};
pub use kept::KeptIndex;
pub(super) use recall::Audit;
pub use recall::Recall;

/// Pages at the beginning that are always attended to: attention sinks (Xiao et al. 2023, arXiv 2309.17453).
const SINK_PAGES: usize = 1;

/// How pages are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PagePolicy {
    /// The last pages only.
    Window,
    /// Bounds of each channel's keys.
    Bounds,
    /// Means of runs of 16 keys.
    Clusters,
    /// Mean and variance of each channel over runs of 16 keys.
    Moments,
    /// Signs of each key's channels.
    Signs,
    /// Each key in 7 bits a channel.
    Keys,
    /// Each key by the sides of random planes on which it lies.
    Hashes,
    /// As `Keys`, but the tokens of a tile choose together, and only as much as they need.
    Probe,
    /// The keys themselves, but all heads of a layer look at what the layer before looked at most.
    Pruned,
    /// Sums along antidiagonals of what the tokens of a tile look at, which choose as much as they need whatever the
    /// budget; for reading.
    Antidiagonals,
    /// The keys themselves.
    Exact,
}

impl PagePolicy {
    /// All of them.
    pub const ALL: [PagePolicy; 11] = [
        PagePolicy::Window,
        PagePolicy::Bounds,
        PagePolicy::Clusters,
        PagePolicy::Moments,
        PagePolicy::Signs,
        PagePolicy::Keys,
        PagePolicy::Hashes,
        PagePolicy::Probe,
        PagePolicy::Pruned,
        PagePolicy::Antidiagonals,
        PagePolicy::Exact,
    ];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            PagePolicy::Window => "window",
            PagePolicy::Bounds => "bounds",
            PagePolicy::Clusters => "clusters",
            PagePolicy::Moments => "moments",
            PagePolicy::Signs => "signs",
            PagePolicy::Keys => "keys",
            PagePolicy::Hashes => "hashes",
            PagePolicy::Probe => "probe",
            PagePolicy::Pruned => "pruned",
            PagePolicy::Antidiagonals => "antidiagonals",
            PagePolicy::Exact => "exact",
        }
    }

    /// The policy of that name.
    pub fn by_name(name: &str) -> Option<PagePolicy> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Whether a token's choice depends on nothing but itself: neither on the tokens beside it nor on other heads.
    pub fn each_for_itself(self) -> bool {
        use PagePolicy::{Antidiagonals, Probe, Pruned};
        !matches!(self, Probe | Pruned | Antidiagonals)
    }

    /// An empty index of a head with so many channels.
    fn index(self, head_dim: usize) -> Box<dyn PageIndex> {
        match self {
            PagePolicy::Window => Box::new(window::Window),
            PagePolicy::Bounds => Box::new(bounds::Bounds::new(head_dim)),
            PagePolicy::Clusters => Box::new(clusters::Clusters::new(head_dim)),
            PagePolicy::Moments => Box::new(moments::Moments::new(head_dim)),
            PagePolicy::Signs => Box::new(signs::Signs::new(head_dim)),
            PagePolicy::Keys | PagePolicy::Probe => Box::new(keys::Keys::new(head_dim)),
            PagePolicy::Hashes => Box::new(hashes::Hashes::new(head_dim)),
            PagePolicy::Antidiagonals => Box::new(antidiagonals::Antidiagonals::new(head_dim)),
            PagePolicy::Pruned | PagePolicy::Exact => Box::new(exact::Exact::new(head_dim)),
        }
    }
}

/// What is known of the keys of one head of one layer, page by page.
trait PageIndex: std::fmt::Debug + Send + Sync {
    /// Adds the next page: its keys `[head_dim][64]`, with bias, turned to their positions, in the order of pairs.
    fn push(&mut self, keys: &[f32]);

    /// Estimates for each query row and page the binary logarithm of the attention weight that the page would get,
    /// up to a constant a row. `queries` is `[rows][head_dim]`, turned, scaled, in the order of pairs; `estimates` is
    /// `[rows][pages]`, of the first pages.
    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]);

    /// Bytes of memory it takes.
    fn bytes(&self) -> usize;
}

/// How much of a cache is looked at, and how it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparseRead {
    /// How pages are judged.
    pub policy: PagePolicy,
    /// Cached tokens that a row of a head attends to at most, sinks and window among them; whole pages. Tokens behind
    /// the cache (question and answer) are always attended to.
    pub budget: usize,
    /// Layers, from the first, that attend to everything.
    pub dense_layers: usize,
    /// The last cached tokens, which are always attended to; whole pages.
    pub window: usize,
}

impl SparseRead {
    /// [`SparseRead::window`] if nothing else is said.
    pub const WINDOW: usize = 256;

    /// With the usual window, all layers choosing.
    pub fn new(policy: PagePolicy, budget: usize) -> SparseRead {
        SparseRead {
            policy,
            budget,
            dense_layers: 0,
            window: SparseRead::WINDOW,
        }
    }
}
