//! What can be measured.

/// One line of stdin.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Memory bandwidth and arithmetic of this machine; needs no model.
    Machine,
    /// Size, shape and work of the model: what limits follow from.
    Describe,
    /// Reads `tokens` into a fresh cache on disk, which later commands then stand on. Reply: `seconds`.
    Read {
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// Reads nothing: an empty cache for later commands.
    Empty,
    /// One pass over `tokens` behind the cache, logits of the last; the cache stays as it is. Reply: `seconds`.
    Prefill {
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// `count` greedy steps of one token behind the cache. Reply: `seconds`.
    Decode {
        /// Steps.
        count: usize,
    },
    /// Opens the cache from disk as after a restart, reads a question, takes the first token of the answer. The
    /// model stays loaded. Reply: `seconds`.
    Question {
        /// Token ids.
        tokens: Vec<u32>,
    },
    /// A pass over `tokens` behind the cache that is stopped, `times` times, at moments spread over it. Reply: `seconds`, from
    /// the word to stop to the end of the work, of each.
    Stop {
        /// Token ids.
        tokens: Vec<u32>,
        /// Passes.
        times: usize,
    },
    /// Peak resident memory until now. Reply: `bytes`, or null where the system does not say.
    Memory,
    /// The same work by candle-transformers' own model: one pass over `tokens`, then `decode` steps. Reply:
    /// `prefill_seconds`, `decode_seconds`.
    Reference {
        /// Token ids.
        tokens: Vec<u32>,
        /// Steps.
        decode: usize,
    },
}
