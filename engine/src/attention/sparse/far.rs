//! Where pages stand that are further away than a model has learnt to look.
//!
//! A model knows only the distances it was trained on. Beyond them, pages outside the window are given distances that it
//! does know. Keys are kept before rotation, so this is decided when they are looked at, and nothing of the cache
//! depends on it but what was computed while it was read.

/// Where the pages outside the window stand.
///
/// With a period of one page all of them stand at the same distance and only the order within a page is left, as in
/// InfLLM (Xiao et al. 2024, arXiv 2402.04617). With a longer one they are laid out over one period again and again, as
/// the chunks are that are neither a query's own nor the one before in Dual Chunk Attention (An et al. 2024, arXiv
/// 2402.17463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Far {
    /// Distance in tokens from a period's first key to the query, the same for every query.
    pub distance: usize,
    /// Pages of a period.
    pub pages: usize,
}
