//! Ranking by meaning beside words.
//!
//! BM25 finds names and numbers exactly and nothing that is said in other words; a sentence transformer is the other way
//! round. Their sum, unweighted, finds more than either (`docs/long-context.md`).

use super::Ranked;
use crate::document::Span;
use xxhash_rust::xxh3::xxh3_64;

/// The number under which the vector of a passage is kept: its text's.
pub fn text_number(passage: &str) -> u64 {
    xxh3_64(passage.as_bytes())
}

/// A vector in one signed byte for each number; its length is lost, which a cosine does not see.
pub fn code(vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0f32, |most, x| most.max(x.abs()));
    let scale = match largest > 0.0 {
        true => 127.0 / largest,
        false => 0.0,
    };
    let byte = |x: &f32| (x * scale).round() as i8 as u8;
    vector.iter().map(byte).collect()
}

/// The cosine between a vector and a coded one; 0 if either is nothing.
pub fn cosine(vector: &[f32], code: &[u8]) -> f64 {
    let coded = || code.iter().map(|byte| f64::from(*byte as i8));
    let product: f64 = vector
        .iter()
        .zip(coded())
        .map(|(x, y)| f64::from(*x) * y)
        .sum();
    let length: f64 = vector.iter().map(|x| f64::from(x * x)).sum();
    let lengths = (length * coded().map(|y| y * y).sum::<f64>()).sqrt();
    match lengths > 0.0 {
        true => product / lengths,
        false => 0.0,
    }
}

/// Ranks passages by their words (`ranked`) and by how near their meaning is to the question's, best first. A passage whose
/// nearness is not known counts as near as the others on the mean.
pub fn with_meaning(ranked: &[Ranked], nearness: &[(Span, Option<f64>)]) -> Vec<Ranked> {
    let known: Vec<f64> = nearness.iter().filter_map(|(_, near)| *near).collect();
    if known.is_empty() {
        return ranked.to_vec();
    }
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let mut by_words: Vec<Ranked> = ranked.to_vec();
    by_words.sort_by_key(|passage| passage.span);
    let words = |span: Span| {
        let place = by_words.binary_search_by_key(&span, |passage| passage.span);
        place.map_or(0.0, |place| by_words[place].score)
    };
    let mut both: Vec<Ranked> = nearness
        .iter()
        .map(|&(span, near)| Ranked {
            span,
            score: words(span) + near.unwrap_or(mean),
        })
        .collect();
    both.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.span.cmp(&b.span)));
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(nth: usize) -> Span {
        Span::new(10 * nth, 10 * nth + 10)
    }

    fn order(ranked: &[Ranked]) -> Vec<usize> {
        ranked
            .iter()
            .map(|passage| passage.span.start / 10)
            .collect()
    }

    #[test]
    fn words_and_meaning_are_added() {
        let ranked = [(2, 0.4), (0, 0.3)].map(|(nth, score)| Ranked {
            span: span(nth),
            score,
        });
        let near = |cosines: [Option<f64>; 4]| -> Vec<(Span, Option<f64>)> {
            (0..4).map(|nth| (span(nth), cosines[nth])).collect()
        };
        // No word of the question stands in 3, which is what it is about.
        let both = with_meaning(&ranked, &near([Some(0.1), Some(0.0), Some(0.1), Some(0.7)]));
        assert_eq!(order(&both), [3, 2, 0, 1]);
        assert!((both[0].score - 0.7).abs() < 1e-12 && (both[1].score - 0.5).abs() < 1e-12);
        // What is not known neither helps nor harms.
        let both = with_meaning(&ranked, &near([Some(0.2), Some(0.1), None, None]));
        assert_eq!(order(&both), [2, 0, 3, 1]);
        assert_eq!(with_meaning(&ranked, &near([None; 4])), ranked);
        // Meaning alone.
        let both = with_meaning(&[], &near([Some(0.2), None, Some(0.9), Some(-0.1)]));
        assert_eq!(order(&both), [2, 1, 0, 3]);
    }

    proptest! {
        #[test]
        fn codes_keep_the_cosine(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 384),
            scale in 1e-3f32..1e3,
        ) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(x, y)| (x, y * scale)).unzip();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let exact = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
            prop_assert!((cosine(&x, &code(&y)) - exact).abs() < 0.005);
        }
    }

    #[test]
    fn nothing_is_near_to_nothing() {
        assert_eq!(cosine(&[0.0; 4], &code(&[1.0; 4])), 0.0);
        assert_eq!(cosine(&[1.0; 4], &code(&[0.0; 4])), 0.0);
        assert_eq!(code(&[0.5, -1.0]), [64, 129]);
    }
}
