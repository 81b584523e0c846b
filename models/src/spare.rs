//! Memory of a pass that the next one uses again, so that decoding a token allocates none.

use std::sync::{Mutex, PoisonError};

/// Tokens of a pass up to which its memory is kept. What more of them need is some tens of megabytes, and nothing beside
/// the time that they take.
const FEW_TOKENS: usize = 16;

/// Buffers of passes that are over, for as many as ever ran at a time.
#[derive(Debug, Default)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Default> Spare<T> {
    /// Calls `work` with buffers for a pass over so many tokens, which may hold what an earlier pass left.
    pub(crate) fn with<R>(&self, tokens: usize, work: impl FnOnce(&mut T) -> R) -> R {
        if tokens > FEW_TOKENS {
            return work(&mut T::default());
        }
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = kept().pop().unwrap_or_default();
        let result = work(&mut buffers);
        kept().push(buffers);
        result
    }
}
