//! Fits the weights that rank evidence.

use crate::citing::{Candidate, Features, Weights};

/// Steps of gradient ascent and their size.
const STEPS: usize = 4000;
const RATE: f32 = 0.5;

/// Pull of every weight to 0: there are few questions.
const DECAY: f32 = 0.002;

/// Candidates of one claim, and which of them is the gold sentence.
pub(super) type Ranking = (Vec<Candidate>, usize);

/// The weights under which the gold sentence is likeliest among its rivals: a softmax over the candidates' scores
/// (conditional logistic regression), by gradient ascent. Scaled so that the positive weights sum to 1.
pub(super) fn fit(rankings: &[Ranking]) -> Weights {
    let mut weights = [0.0f32; 7];
    for _ in 0..STEPS {
        let mut gradient = weights.map(|weight| -DECAY * weight);
        for (candidates, gold) in rankings {
            let rows: Vec<[f32; 7]> = candidates.iter().map(|c| numbers(&c.features)).collect();
            let scores: Vec<f32> = rows.iter().map(|row| dot(row, &weights)).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shares: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f32 = shares.iter().sum();
            for (row, share) in rows.iter().zip(&shares) {
                for (slope, (gold, value)) in gradient.iter_mut().zip(rows[*gold].iter().zip(row)) {
                    *slope += share / sum * (gold - value) / rankings.len() as f32;
                }
            }
        }
        weights
            .iter_mut()
            .zip(gradient)
            .for_each(|(weight, slope)| *weight += RATE * slope);
    }
    let positive: f32 = weights.iter().filter(|weight| **weight > 0.0).sum();
    let [
        answer,
        question,
        paragraph,
        run,
        attention,
        question_attention,
        length,
    ] = weights.map(|weight| weight / positive.max(1e-6));
    Weights {
        answer,
        question,
        paragraph,
        run,
        attention,
        question_attention,
        length,
    }
}

fn numbers(f: &Features) -> [f32; 7] {
    [
        f.answer,
        f.question,
        f.paragraph,
        f.run,
        f.attention,
        f.question_attention,
        f.length,
    ]
}

fn dot(a: &[f32; 7], b: &[f32; 7]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_the_gold_sentence_gets_the_weight() {
        let candidate = |sentence, answer, question| Candidate {
            sentence,
            features: Features {
                answer,
                question,
                ..Features::default()
            },
            score: 0.0,
        };
        let rankings: Vec<Ranking> = (0..20)
            .map(|n| {
                let noise = n as f32 / 20.0;
                (
                    vec![
                        candidate(0, 0.2, noise),
                        candidate(1, 0.8, 0.5),
                        candidate(2, 0.3, 1.0 - noise),
                    ],
                    1,
                )
            })
            .collect();
        let weights = fit(&rankings);
        assert!(weights.answer > 0.7, "{weights:?}");
    }
}
