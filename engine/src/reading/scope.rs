//! How what lies beyond a model's window is read.

use crate::attention::{Choosers, Far, PagePolicy, SparseRead};
use crate::kv::BLOCK_TOKENS;
use xxhash_rust::xxh3::xxh3_64;

/// Raised when pages come to be chosen otherwise.
const VERSION: usize = 1;

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
    /// For a model with a window of so many tokens: all of it is read with attention to everything. What is near and
    /// what is chosen behind it are the sizes that were measured, see `docs/long-context.md`.
    pub fn beyond(window: usize) -> Scope {
        let near = (window / 8).clamp(BLOCK_TOKENS, 4096) / BLOCK_TOKENS * BLOCK_TOKENS;
        let far = Far {
            distance: 2 * near,
            pages: near / BLOCK_TOKENS,
        };
        Scope::new(window, near, near / 2, Some(far))
    }

    /// Stands for all that what is computed depends on, for [`CacheIdentity::scope`](crate::kv::CacheIdentity::scope).
    pub fn number(&self) -> u64 {
        let far = self
            .read
            .far
            .map_or([0, 0], |far| [far.distance, far.pages]);
        let numbers = [
            VERSION,
            self.whole,
            self.read.budget,
            self.read.window,
            far[0],
            far[1],
        ];
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| (*number as u64).to_le_bytes())
            .collect();
        xxh3_64(&bytes)
    }

    /// Tokens that a token at `depth` looks at.
    pub fn looked_at(&self, depth: usize) -> usize {
        if depth < self.whole {
            depth
        } else {
            self.read.budget
        }
    }

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
