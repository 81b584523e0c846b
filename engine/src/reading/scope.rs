//! How what lies beyond a model's window is read.

use crate::attention::{Choosers, Far, PagePolicy, SparseRead};
use crate::kv::BLOCK_TOKENS;

/// Bounded scope: the beginning of a document is read with attention to everything, at the positions that a model was
/// trained on. Behind that a chunk looks at the first page, at the tokens just before it, and at the pages of the rest
/// that promise most, which stand at a distance that the model knows. What a token costs no longer grows with the
/// document, but for the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Tokens, the prompt's among them, that are read with attention to everything.
    pub whole: usize,
    /// What the tokens behind them look at.
    pub read: SparseRead,
}

impl Scope {
    /// With `near` tokens of window, `chosen` tokens of the rest, and these as `far` says.
    pub fn new(whole: usize, near: usize, chosen: usize, far: Option<Far>) -> Scope {
        Scope {
            whole,
            read: SparseRead {
                window: near,
                far,
                choosers: Choosers::Tile,
                ..SparseRead::new(PagePolicy::Keys, BLOCK_TOKENS + near + chosen)
            },
        }
    }

    /// How a question behind a document that was read so looks at it: `chosen` tokens of what is not near, each token
    /// choosing for itself.
    pub fn asked(&self, near: usize, chosen: usize) -> SparseRead {
        SparseRead {
            budget: BLOCK_TOKENS + near + chosen,
            window: near,
            choosers: Choosers::EachToken,
            ..self.read
        }
    }
}
