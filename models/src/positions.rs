//! How a model turns queries and keys by their positions, from a GGUF's metadata.
//!
//! In: `rope.*` of the file. Out: an angle a position for each pair of channels, and what scores are multiplied with. A file
//! may say that its positions are stretched, so that a model reads further than it was trained for:
//!
//! | `rope.scaling.type` | angles | scores |
//! |---|---|---|
//! | none | `base^(-2i / dimensions)` (Su et al. 2021, arXiv 2104.09864) | as they are |
//! | `linear` | all of them divided by the factor (Chen et al. 2023, arXiv 2306.15595) | as they are |
//! | `yarn`, or stretched by whoever loads it | divided, but for pairs that turn often within the trained window (Peng et al. 2023, arXiv 2309.00071, section 3.2) | times `(0.1 ln factor + 1)^2` (equation 15) |

use crate::attention::{Rotary, RotaryPairing};
use crate::error::ModelError;
use crate::gguf::Gguf;
use std::f64::consts::TAU;

/// Turns within the trained window from which on a pair keeps its angle, and up to which it is divided whole: the paper's
/// values for all models of Llama's kind, which files may change.
const FAST_TURNS: f64 = 32.0;
const SLOW_TURNS: f64 = 1.0;

/// What positions do to attention.
#[derive(Debug)]
pub(crate) struct Positions {
    pub(crate) rotary: Rotary,
    /// What scores are multiplied with.
    pub(crate) attention_factor: f32,
}

/// Of the model in a file of this architecture's name, stretched `stretch` times where the file does not say so itself.
pub(crate) fn of(
    file: &Gguf,
    name: &str,
    pairing: RotaryPairing,
    head_dim: usize,
    stretch: f64,
) -> Result<Positions, ModelError> {
    let metadata = file.metadata();
    let nonsense = |key: &str| ModelError::Metadata {
        path: file.path().to_owned(),
        key: format!("{name}.{key}"),
    };
    let dimensions = metadata
        .count(&format!("{name}.rope.dimension_count"))
        .unwrap_or(head_dim);
    if dimensions == 0 || !dimensions.is_multiple_of(2) || dimensions > head_dim {
        return Err(nonsense("rope.dimension_count"));
    }
    // A number that may be missing, but not be nonsense.
    let number = |key: &str, least: f64| match metadata.float(&format!("{name}.{key}")) {
        None => Ok(None),
        Some(number) if number.is_finite() && number > least => Ok(Some(number)),
        Some(_) => Err(nonsense(key)),
    };
    let is_stretched = stretch > 1.0;
    let base = number("rope.freq_base", 1.0)?.unwrap_or(10_000.0);
    let factor =
        || number("rope.scaling.factor", 0.0)?.ok_or_else(|| nonsense("rope.scaling.factor"));
    let angles = (0..dimensions / 2).map(|pair| base.powf(-2.0 * pair as f64 / dimensions as f64));
    let (angles, attention_factor): (Vec<f64>, f64) =
        match metadata.string(&format!("{name}.rope.scaling.type")) {
            None | Some("none") if !is_stretched => (angles.collect(), 1.0),
            Some(other) if is_stretched && other != "none" => {
                return Err(ModelError::Feature {
                    path: file.path().to_owned(),
                    feature: format!("positions stretched once more than {other:?} does it"),
                });
            }
            Some("linear") => {
                let factor = factor()?;
                (angles.map(|angle| angle / factor).collect(), 1.0)
            }
            None | Some("none" | "yarn") => {
                let trained = ["rope.scaling.original_context_length", "context_length"]
                    .iter()
                    .find_map(|key| metadata.count(&format!("{name}.{key}")))
                    .filter(|tokens| *tokens > 0)
                    .ok_or_else(|| nonsense("rope.scaling.original_context_length"))?;
                let yarn = Yarn {
                    factor: match is_stretched {
                        true => stretch,
                        false => factor()?,
                    },
                    trained: trained as f64,
                    fast: number("rope.scaling.yarn_beta_fast", 0.0)?.unwrap_or(FAST_TURNS),
                    slow: number("rope.scaling.yarn_beta_slow", 0.0)?.unwrap_or(SLOW_TURNS),
                };
                let stretched = yarn.angles(base, dimensions, angles);
                let attention = number("rope.scaling.attn_factor", 0.0)?.unwrap_or(1.0);
                (stretched, (attention * yarn.temperature()).powi(2))
            }
            Some(other) => {
                return Err(ModelError::Feature {
                    path: file.path().to_owned(),
                    feature: format!("position scaling of type {other:?}"),
                });
            }
        };
    Ok(Positions {
        rotary: Rotary {
            pairing,
            inverse_frequencies: angles.into_iter().map(|angle| angle as f32).collect(),
        },
        attention_factor: attention_factor as f32,
    })
}

/// Positions stretched pair by pair.
#[derive(Debug, Clone, Copy)]
struct Yarn {
    factor: f64,
    /// Tokens of the trained window.
    trained: f64,
    fast: f64,
    slow: f64,
}

impl Yarn {
    fn angles(&self, base: f64, dimensions: usize, angles: impl Iterator<Item = f64>) -> Vec<f64> {
        // The pair that turns so often within the trained window.
        let pair_of = |turns: f64| {
            dimensions as f64 * (self.trained / (turns * TAU)).ln() / (2.0 * base.ln())
        };
        let first = pair_of(self.fast).floor().max(0.0);
        let last = pair_of(self.slow).ceil().min(dimensions as f64 - 1.0);
        let width = (last - first).max(0.001);
        angles
            .enumerate()
            .map(|(pair, angle)| {
                let divided = ((pair as f64 - first) / width).clamp(0.0, 1.0);
                angle * (1.0 - divided) + angle / self.factor * divided
            })
            .collect()
    }

    /// What queries and keys are each multiplied with.
    fn temperature(&self) -> f64 {
        match self.factor > 1.0 {
            true => 0.1 * self.factor.ln() + 1.0,
            false => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs, and what is left of their angles.
    const EXPECTED: [(usize, f64); 7] = [
        (0, 1.0),
        (11, 1.0),
        (12, 11.0 / 12.0),
        (15, 2.0 / 3.0),
        (19, 1.0 / 3.0),
        (20, 0.25),
        (31, 0.25),
    ];

    /// Qwen2.5: a window of 32,768 stretched four times. The numbers are those of `_compute_yarn_parameters` of Hugging
    /// Face's transformers, computed in Python from its formulas.
    #[test]
    fn slow_pairs_are_stretched_and_fast_ones_are_not() {
        let yarn = Yarn {
            factor: 4.0,
            trained: 32_768.0,
            fast: 32.0,
            slow: 1.0,
        };
        let plain: Vec<f64> = (0..32)
            .map(|pair| 1e6f64.powf(-2.0 * f64::from(pair) / 64.0))
            .collect();
        let found = yarn.angles(1e6, 64, plain.iter().copied());
        for (pair, share) in EXPECTED {
            let difference = (found[pair] / plain[pair] - share).abs();
            assert!(
                difference < 1e-9,
                "pair {pair}: {}",
                found[pair] / plain[pair]
            );
        }
        assert!((yarn.temperature() - 1.138_629_436_111_989).abs() < 1e-12);
    }
}
