//! From scores to what is evicted.

use crate::attention::Evicted;
use crate::kv::{BLOCK_TOKENS, KvCache, KvShape};
use clap::ValueEnum;
use std::ops::Range;

/// How much each token of each head is worth.
#[derive(Debug)]
pub(super) struct Scores {
    pub shape: KvShape,
    pub tokens: usize,
    /// `[layer][kv_head][token]`.
    pub worth: Vec<f32>,
}

/// Among which tokens the worst are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compared {
    /// All of all heads: one head may lose more than another.
    Everywhere,
    /// Those of a head.
    Heads,
    /// Those of a block and head.
    Blocks,
    /// Those of a block and head, of which a head has everywhere the share that it would have on the mean if all were
    /// compared with all.
    BlocksOfHeads,
}

impl Scores {
    /// What to evict so that about `share` of all tokens in heads stay; of the first block nothing.
    pub fn evict(&self, share: f64, compared: Compared) -> Evicted {
        if compared != Compared::BlocksOfHeads {
            return self.evict_worst(compared, &|_| share);
        }
        let all = self.evict_worst(Compared::Everywhere, &|_| share);
        let heads = self.shape.kv_heads;
        self.evict_worst(Compared::Blocks, &|head| {
            all.share_of(head / heads, head % heads)
        })
    }

    /// Evicts the worst of each group so that of a head about this share stays.
    fn evict_worst(&self, compared: Compared, share: &dyn Fn(usize) -> f64) -> Evicted {
        let mut evicted = Evicted::nothing(&self.shape, self.tokens / BLOCK_TOKENS);
        // Whole blocks only: what is behind them is not sealed for good.
        let sealed = self.tokens / BLOCK_TOKENS * BLOCK_TOKENS;
        let heads = self.worth.len() / self.tokens;
        let all = |heads: Range<usize>, tokens: Range<usize>| -> Vec<usize> {
            heads
                .flat_map(|head| tokens.clone().map(move |token| head * self.tokens + token))
                .collect()
        };
        let groups: Vec<Vec<usize>> = match compared {
            Compared::Everywhere => vec![all(0..heads, 0..sealed)],
            Compared::Heads => (0..heads)
                .map(|head| all(head..head + 1, 0..sealed))
                .collect(),
            Compared::Blocks | Compared::BlocksOfHeads => (0..heads)
                .flat_map(|head| {
                    let blocks = (0..sealed).step_by(BLOCK_TOKENS);
                    blocks.map(move |first| (head, first))
                })
                .map(|(head, first)| all(head..head + 1, first..first + BLOCK_TOKENS))
                .collect(),
        };
        for mut group in groups {
            let head = group.first().map_or(0, |at| at / self.tokens);
            let lost = ((1.0 - share(head)) * group.len() as f64).round() as usize;
            group.retain(|at| at % self.tokens >= BLOCK_TOKENS);
            group.sort_by(|a, b| self.worth[*a].total_cmp(&self.worth[*b]).then(a.cmp(b)));
            for at in group.into_iter().take(lost) {
                let head = at / self.tokens;
                let (layer, kv_head) = (head / self.shape.kv_heads, head % self.shape.kv_heads);
                evicted.evict(layer, kv_head, at % self.tokens);
            }
        }
        evicted
    }

    /// Scores of every token of every head of a cache, `[layer][kv_head][token]`.
    pub fn of(cache: &KvCache, worth: Vec<f32>) -> Scores {
        Scores {
            shape: *cache.shape(),
            tokens: cache.tokens(),
            worth,
        }
    }

    /// The later the better (StreamingLLM, Xiao et al. 2023, arXiv 2309.17453).
    pub fn recent(cache: &KvCache) -> Scores {
        let tokens = cache.tokens();
        let all = 0..cache.shape().layers * cache.shape().kv_heads * tokens;
        Scores::of(cache, all.map(|at| (at % tokens) as f32).collect())
    }

    /// Drawn for each token and head (splitmix64, Steele et al. 2014).
    pub fn random(cache: &KvCache) -> Scores {
        let drawn = |at: usize| {
            let mut bits = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((bits ^ (bits >> 31)) >> 40) as f32
        };
        let all = 0..cache.shape().layers * cache.shape().kv_heads * cache.tokens();
        Scores::of(cache, all.map(drawn).collect())
    }
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
    fn scores() -> Scores {
        let tokens = 3 * BLOCK_TOKENS;
        Scores {
            shape: SHAPE,
            tokens,
            worth: (0..2 * tokens).map(|at| at as f32).collect(),
        }
    }

    #[test]
    fn a_share_is_evicted_and_the_first_block_stays() {
        for compared in [Compared::Everywhere, Compared::Heads] {
            let evicted = scores().evict(0.5, compared);
            assert!((evicted.share_kept() - 0.5).abs() < 0.01, "{compared:?}");
        }
        let evicted = scores().evict(0.5, Compared::Blocks);
        assert!((evicted.share_kept() - 2.0 / 3.0).abs() < 0.01);
        // No more than two blocks of three can go.
        let evicted = scores().evict(0.0, Compared::Heads);
        assert!((evicted.share_kept() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn comparable_scores_take_from_the_worse_head_first() {
        let first_layer = |evicted: &Evicted| evicted.share_of(0, 0);
        assert!(
            (first_layer(&scores().evict(2.0 / 3.0, Compared::Everywhere)) - 1.0 / 3.0).abs()
                < 0.01
        );
        assert!(
            (first_layer(&scores().evict(2.0 / 3.0, Compared::Heads)) - 2.0 / 3.0).abs() < 0.01
        );
    }
}
