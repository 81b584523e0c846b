//! From scores to what is evicted.

use crate::attention::Evicted;
use crate::kv::{BLOCK_TOKENS, KvCache, KvShape};

/// How much each token of each head is worth.
#[derive(Debug)]
pub(super) struct Scores {
    pub shape: KvShape,
    pub tokens: usize,
    /// `[layer][kv_head][token]`.
    pub worth: Vec<f32>,
    /// Whether they can be compared between heads, so that one head may lose more than another.
    pub comparable: bool,
}

impl Scores {
    /// What to evict so that about `share` of all tokens in heads stay; of the first block nothing.
    pub fn evict(&self, share: f64) -> Evicted {
        let mut evicted = Evicted::nothing(&self.shape, self.tokens / BLOCK_TOKENS);
        let group = match self.comparable {
            true => self.worth.len(),
            false => self.tokens,
        };
        for (nth, worth) in self.worth.chunks_exact(group).enumerate() {
            // Whole blocks only: what is behind them is not sealed for good.
            let sealed = self.tokens / BLOCK_TOKENS * BLOCK_TOKENS;
            let mut order: Vec<usize> = (0..group)
                .filter(|at| (BLOCK_TOKENS..sealed).contains(&(at % self.tokens)))
                .collect();
            let lost = ((1.0 - share) * group as f64) as usize;
            order.sort_by(|a, b| worth[*a].total_cmp(&worth[*b]).then(a.cmp(b)));
            for at in order.into_iter().take(lost) {
                let head = (nth * group + at) / self.tokens;
                let (layer, kv_head) = (head / self.shape.kv_heads, head % self.shape.kv_heads);
                evicted.evict(layer, kv_head, at % self.tokens);
            }
        }
        evicted
    }

    /// Scores of every token of every head of a cache.
    pub fn of(cache: &KvCache, comparable: bool, worth: Vec<f32>) -> Scores {
        Scores {
            shape: *cache.shape(),
            tokens: cache.tokens(),
            worth,
            comparable,
        }
    }
}

/// The later the better (StreamingLLM, Xiao et al. 2023, arXiv 2309.17453).
pub(super) fn recent(cache: &KvCache) -> Scores {
    let (tokens, shape) = (cache.tokens(), cache.shape());
    let all = 0..shape.layers * shape.kv_heads * tokens;
    Scores::of(cache, false, all.map(|at| (at % tokens) as f32).collect())
}

/// Drawn for each token and head (splitmix64, Steele et al. 2014).
pub(super) fn random(cache: &KvCache) -> Scores {
    let (tokens, shape) = (cache.tokens(), cache.shape());
    let drawn = |at: usize| {
        let mut bits = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32
    };
    let all = 0..shape.layers * shape.kv_heads * tokens;
    Scores::of(cache, false, all.map(drawn).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape {
        layers: 2,
        kv_heads: 1,
        head_dim: 4,
    };

    /// Three blocks; the tokens of layer 1 are worth more than those of layer 0.
    fn scores(comparable: bool) -> Scores {
        let tokens = 3 * BLOCK_TOKENS;
        Scores {
            shape: SHAPE,
            tokens,
            worth: (0..2 * tokens).map(|at| at as f32).collect(),
            comparable,
        }
    }

    #[test]
    fn a_share_is_evicted_and_the_first_block_stays() {
        for comparable in [true, false] {
            let evicted = scores(comparable).evict(0.5);
            assert!((evicted.share_kept() - 0.5).abs() < 0.01, "{comparable}");
        }
        // No more than two blocks of three can go.
        let evicted = scores(false).evict(0.0);
        assert!((evicted.share_kept() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn comparable_scores_take_from_the_worse_head_first() {
        let first_layer = |evicted: &Evicted| evicted.share_of(0, 0);
        assert!((first_layer(&scores(true).evict(2.0 / 3.0)) - 1.0 / 3.0).abs() < 0.01);
        assert!((first_layer(&scores(false).evict(2.0 / 3.0)) - 2.0 / 3.0).abs() < 0.01);
    }
}
