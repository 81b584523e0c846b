//! Which token comes next.

use lectern_protocol::Ask;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sampling {
    /// Always the likeliest: the same question gets the same answer, and a factual answer is what a document
    /// assistant is for. The default.
    #[default]
    Greedy,
    /// By chance among the likely ones, the same for the same seed.
    Seeded {
        /// Start of the random numbers.
        seed: u64,
        /// Above 0; the lower, the nearer to greedy.
        temperature: f32,
    },
}

impl Sampling {
    /// Temperature for a seed that was given without one.
    pub const TEMPERATURE: f32 = 0.3;

    /// What a question asks for.
    pub fn of(ask: &Ask) -> Sampling {
        match (ask.greedy, ask.seed) {
            (Some(true), _) | (_, None) => Sampling::Greedy,
            (_, Some(seed)) => Sampling::Seeded {
                seed: u64::from(seed),
                temperature: Sampling::TEMPERATURE,
            },
        }
    }
}

/// Smallest set of tokens that is drawn from: those whose probabilities sum to this (nucleus sampling, Holtzman et
/// al. 2019, arXiv 1904.09751).
const NUCLEUS: f64 = 0.9;

/// Longest cycle of tokens that is recognised as one, and tokens that must have gone round before it counts.
const LONGEST_CYCLE: usize = 48;
const LEAST_CYCLED: usize = 24;

/// Draws tokens from logits.
pub(super) struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Sampler {
        let state = match sampling {
            Sampling::Greedy => 0,
            Sampling::Seeded { seed, .. } => seed,
        };
        Sampler { sampling, state }
    }

    /// The next token; `None` if there are no logits or none is a number.
    pub fn next(&mut self, logits: &[f32]) -> Option<u32> {
        match self.sampling {
            Sampling::Seeded { temperature, .. } if temperature > 0.0 => {
                self.draw(logits, temperature)
            }
            _ => likeliest(logits),
        }
    }

    fn draw(&mut self, logits: &[f32], temperature: f32) -> Option<u32> {
        let largest = logits[likeliest(logits)? as usize];
        let weight = |logit: f32| f64::from((logit - largest) / temperature).exp();
        let total: f64 = logits
            .iter()
            .filter(|l| !l.is_nan())
            .map(|&l| weight(l))
            .sum();
        let mut likely: Vec<(f64, u32)> = logits
            .iter()
            .enumerate()
            .map(|(id, &logit)| (weight(logit) / total, id as u32))
            .filter(|(share, _)| *share > 1e-4)
            .collect();
        likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut sum = 0.0;
        let kept = likely.iter().take_while(|(share, _)| {
            let before = sum;
            sum += share;
            before < NUCLEUS
        });
        let kept: Vec<(f64, u32)> = kept.copied().collect();
        let mut left = self.uniform() * kept.iter().map(|(share, _)| share).sum::<f64>();
        for (share, id) in &kept {
            left -= share;
            if left <= 0.0 {
                return Some(*id);
            }
        }
        kept.last().map(|(_, id)| *id)
    }

    /// Uniform in 0..1: SplitMix64 (Steele et al. 2014).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The token with the largest logit, the first of equals.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(f32, u32)> = None;
    for (id, &logit) in logits.iter().enumerate() {
        if !logit.is_nan() && best.is_none_or(|(largest, _)| logit > largest) {
            best = Some((logit, id as u32));
        }
    }
    best.map(|(_, id)| id)
}

/// Whether the answer goes round in circles: its end repeats one cycle at least three times, for 24 tokens or more.
///
/// Small models do this under greedy decoding. A penalty on repeated tokens would prevent it, but also make the
/// model misspell the names and numbers that it must copy from the document.
pub(super) fn goes_in_circles(tokens: &[u32]) -> bool {
    (1..=LONGEST_CYCLE).any(|cycle| {
        let cycled = (3 * cycle).max(LEAST_CYCLED);
        tokens.len() >= cycled && {
            let end = &tokens[tokens.len() - cycled..];
            end.iter().zip(&end[cycle..]).all(|(a, b)| a == b)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_likeliest() {
        let mut sampler = Sampler::new(Sampling::Greedy);
        assert_eq!(sampler.next(&[0.1, 3.0, f32::NAN, 3.0]), Some(1));
        assert_eq!(sampler.next(&[]), None);
        assert_eq!(sampler.next(&[f32::NAN]), None);
    }

    #[test]
    fn a_seed_fixes_the_draws_and_unlikely_tokens_are_never_drawn() {
        let logits = [2.0, 1.9, 1.8, -9.0];
        let draws = |seed| {
            let mut sampler = Sampler::new(Sampling::Seeded {
                seed,
                temperature: 1.0,
            });
            (0..200)
                .filter_map(|_| sampler.next(&logits))
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let counts = [0, 1, 2, 3].map(|id| draws(7).iter().filter(|&&drawn| drawn == id).count());
        assert!(
            counts[..3].iter().all(|&count| count > 30) && counts[3] == 0,
            "{counts:?}"
        );
    }

    #[test]
    fn circles_are_seen_and_lists_are_not() {
        let cycle: Vec<u32> = (0..40).map(|n| n % 5).collect();
        assert!(goes_in_circles(&cycle));
        assert!(goes_in_circles(&[9; 24]));
        assert!(!goes_in_circles(&[9; 23]));
        let list: Vec<u32> = (0..40).map(|n| if n % 5 == 0 { 1 } else { n }).collect();
        assert!(!goes_in_circles(&list));
    }
}
