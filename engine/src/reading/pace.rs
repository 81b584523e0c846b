//! How fast reading goes, and how long it will still take.

use std::collections::VecDeque;
use std::time::Duration;

/// Chunks that the present speed is taken from.
const SPEED_CHUNKS: usize = 4;

/// How much less each chunk counts in the fit than the one after it: about the last 20 count.
const FADE: f64 = 0.95;

/// One chunk that was read.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    tokens: f64,
    seconds: f64,
}

/// Cost of a token as `a + b * depth`, fitted to the chunks so far: a constant for the weights, and a part that grows
/// with the tokens before it for the attention.
///
/// Weighted least squares over the seconds per token, `a` and `b` kept from being negative, old chunks fading so that
/// a machine that gets busy shows.
#[derive(Debug, Default)]
pub struct Pace {
    taken: Duration,
    tokens: usize,
    recent: VecDeque<Chunk>,
    chunks: usize,
    /// Sums over chunks of weight, depth, depth², seconds a token, and depth times seconds a token.
    weight: f64,
    depth: f64,
    depth_squared: f64,
    cost: f64,
    depth_cost: f64,
}

/// What a token costs to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCost {
    /// Seconds of a token at depth 0.
    pub per_token: f64,
    /// Seconds more for each token before it.
    pub per_token_before: f64,
}

impl TokenCost {
    /// Seconds that tokens `from..to` take, each of which looks at all before it, or at `looks_at` others.
    pub fn seconds(&self, from: f64, to: f64, looks_at: Option<usize>) -> f64 {
        let looks = match looks_at {
            Some(tokens) => tokens as f64 * (to - from),
            None => (to * to - from * from) / 2.0,
        };
        self.per_token * (to - from) + self.per_token_before * looks
    }
}

impl Pace {
    /// A chunk of `tokens` that look at `before` others took that long.
    pub fn add(&mut self, before: usize, tokens: usize, took: Duration) {
        self.taken += took;
        self.tokens += tokens;
        let chunk = Chunk {
            tokens: tokens as f64,
            seconds: took.as_secs_f64(),
        };
        self.recent.push_back(chunk);
        if self.recent.len() > SPEED_CHUNKS {
            self.recent.pop_front();
        }
        self.chunks += 1;
        let depth = before as f64 + chunk.tokens / 2.0;
        let cost = chunk.seconds / chunk.tokens;
        for (sum, new) in [
            (&mut self.weight, 1.0),
            (&mut self.depth, depth),
            (&mut self.depth_squared, depth * depth),
            (&mut self.cost, cost),
            (&mut self.depth_cost, depth * cost),
        ] {
            // A short last chunk says little.
            *sum = *sum * FADE + new * chunk.tokens;
        }
    }

    /// Time that all chunks took together, without what was waited between them.
    pub fn taken(&self) -> Duration {
        self.taken
    }

    /// Tokens of all chunks together.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tokens a second over the last chunks; 0 before the first.
    pub fn tokens_per_second(&self) -> f64 {
        let tokens: f64 = self.recent.iter().map(|chunk| chunk.tokens).sum();
        let seconds: f64 = self.recent.iter().map(|chunk| chunk.seconds).sum();
        if seconds > 0.0 { tokens / seconds } else { 0.0 }
    }

    /// Seconds that tokens `from..to` will take, see [`TokenCost::seconds`]; `None` before the second chunk.
    pub fn seconds(&self, from: usize, to: usize, looks_at: Option<usize>) -> Option<f64> {
        Some(self.cost()?.seconds(from as f64, to as f64, looks_at))
    }

    /// What a token costs; `None` before the second chunk.
    pub fn cost(&self) -> Option<TokenCost> {
        if self.chunks < 2 {
            return None;
        }
        let depth = self.depth / self.weight;
        let cost = self.cost / self.weight;
        let spread = self.depth_squared / self.weight - depth * depth;
        let shared = self.depth_cost / self.weight - depth * cost;
        let slope = if spread > 0.0 { shared / spread } else { 0.0 };
        // Neither negative: between no growth at all and growth from nothing.
        let slope = slope.clamp(0.0, cost / depth.max(1.0));
        Some(TokenCost {
            per_token: cost - slope * depth,
            per_token_before: slope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paced(chunks: usize, seconds_of_token: impl Fn(f64) -> f64) -> Pace {
        let mut pace = Pace::default();
        for nth in 0..chunks {
            let depth = (nth * 256 + 128) as f64;
            let took = Duration::from_secs_f64(256.0 * seconds_of_token(depth));
            pace.add(nth * 256, 256, took);
        }
        pace
    }

    #[test]
    fn nothing_is_foretold_from_one_chunk() {
        assert_eq!(paced(0, |_| 0.01).tokens_per_second(), 0.0);
        assert_eq!(paced(1, |_| 0.01).seconds(256, 512, None), None);
    }

    #[test]
    fn growth_with_depth_is_foretold() {
        let pace = paced(8, |depth| 0.01 + 1e-6 * depth);
        let expected = 0.01 * 14_336.0 + 1e-6 * (16_384f64.powi(2) - 2048f64.powi(2)) / 2.0;
        let found = pace.seconds(2048, 16_384, None).unwrap_or(0.0);
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{found} for {expected}"
        );
        let speed = pace.tokens_per_second();
        assert!((80.0..90.0).contains(&speed), "{speed}");
    }

    #[test]
    fn in_segments_a_token_costs_the_same_wherever_it_stands() {
        let cost = TokenCost {
            per_token: 0.01,
            per_token_before: 1e-6,
        };
        let found = cost.seconds(10_000.0, 20_000.0, Some(512));
        assert!((found - 10_000.0 * (0.01 + 512e-6)).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_machine_that_becomes_free_does_not_make_the_rest_negative() {
        let pace = paced(8, |depth| 0.02 - 5e-6 * depth);
        let left = pace.seconds(2048, 32_768, None).unwrap_or(0.0);
        assert!(left > 0.01 * 30_000.0, "{left}");
    }
}
