//! From scores to what is evicted.

use crate::attention::drawn;
use crate::kv::{BLOCK_TOKENS, Kept, KvCache, KvShape};
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
    /// Heads: some lose all but the first block and the last [`WINDOW`] tokens, the others nothing.
    WholeHeads,
}

/// The last tokens that stay in a head that loses all others.
const WINDOW: usize = 256;

impl Scores {
    /// What to evict so that about `share` of all tokens in heads stay; of the first block nothing.
    pub fn evict(&self, share: f64, compared: Compared) -> Kept {
        match compared {
            Compared::BlocksOfHeads => {
                let all = self.evict_worst(Compared::Everywhere, &|_| share);
                self.evict_worst(Compared::Blocks, &|head| {
                    let (layer, kv_head) = self.of(head);
                    all.share_of(layer, kv_head)
                })
            }
            Compared::WholeHeads => self.evict_heads(&self.least_needed(share), share),
            _ => self.evict_worst(compared, &|_| share),
        }
    }

    /// Layer and key/value head of a head.
    fn of(&self, head: usize) -> (usize, usize) {
        (head / self.shape.kv_heads, head % self.shape.kv_heads)
    }

    /// All heads, layer and key/value head, those first of which least would stay if `share` of all tokens did.
    pub fn least_needed(&self, share: f64) -> Vec<(usize, usize)> {
        let all = self.evict_worst(Compared::Everywhere, &|_| share);
        let mut heads: Vec<(usize, usize)> = (0..self.worth.len() / self.tokens)
            .map(|head| self.of(head))
            .collect();
        let stays = |head: &(usize, usize)| all.share_of(head.0, head.1);
        heads.sort_by(|a, b| stays(a).total_cmp(&stays(b)).then(a.cmp(b)));
        heads
    }

    /// Evicts whole heads, the first of these, as long as more than `share` of all tokens stays.
    pub fn evict_heads(&self, heads: &[(usize, usize)], share: f64) -> Kept {
        let mut evicted = Kept::everything(&self.shape, self.tokens / BLOCK_TOKENS);
        for (layer, kv_head) in heads {
            if evicted.share() <= share {
                break;
            }
            for token in BLOCK_TOKENS..self.tokens.saturating_sub(WINDOW) {
                evicted.evict(*layer, *kv_head, token);
            }
        }
        evicted
    }

    /// Evicts the worst of each group so that of a head about this share stays.
    fn evict_worst(&self, compared: Compared, share: &dyn Fn(usize) -> f64) -> Kept {
        let mut evicted = Kept::everything(&self.shape, self.tokens / BLOCK_TOKENS);
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
            _ => (0..heads)
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
                let (layer, kv_head) = self.of(at / self.tokens);
                evicted.evict(layer, kv_head, at % self.tokens);
            }
        }
        evicted
    }

    /// Scores of every token of every head of a cache, `[layer][kv_head][token]`.
    pub fn new(cache: &KvCache, worth: Vec<f32>) -> Scores {
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
        Scores::new(cache, all.map(|at| (at % tokens) as f32).collect())
    }

    /// Any number for each token and head.
    pub fn random(cache: &KvCache) -> Scores {
        let all = 0..cache.shape().layers * cache.shape().kv_heads * cache.tokens();
        Scores::new(cache, all.map(|at| (drawn(at) >> 40) as f32).collect())
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
            assert!((evicted.share() - 0.5).abs() < 0.01, "{compared:?}");
        }
        let evicted = scores().evict(0.5, Compared::Blocks);
        assert!((evicted.share() - 2.0 / 3.0).abs() < 0.01);
        // No more than two blocks of three can go.
        let evicted = scores().evict(0.0, Compared::Heads);
        assert!((evicted.share() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn whole_heads_go_but_for_their_ends() {
        let tokens = 8 * BLOCK_TOKENS;
        let scores = Scores {
            shape: SHAPE,
            tokens,
            worth: (0..2 * tokens).map(|at| at as f32).collect(),
        };
        assert_eq!(scores.least_needed(0.7), [(0, 0), (1, 0)]);
        let evicted = scores.evict(0.9, Compared::WholeHeads);
        // The first block and the last four of eight are left of the first layer's head, everything of the other.
        assert_eq!(evicted.share_of(0, 0), 5.0 / 8.0);
        assert_eq!(evicted.share_of(1, 0), 1.0);
    }

    #[test]
    fn comparable_scores_take_from_the_worse_head_first() {
        let first_layer = |evicted: &Kept| evicted.share_of(0, 0);
        assert!(
            (first_layer(&scores().evict(2.0 / 3.0, Compared::Everywhere)) - 1.0 / 3.0).abs()
                < 0.01
        );
        assert!(
            (first_layer(&scores().evict(2.0 / 3.0, Compared::Heads)) - 2.0 / 3.0).abs() < 0.01
        );
    }
}
