//! What the model looked at, told as a share for each sentence of the document.

use super::SentenceIndex;
use serde::{Deserialize, Serialize};

/// Attention of the retrieval heads, by sentence of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttentionEvidence {
    /// While the sentence of the answer was generated; each sentence's share of the strongest one, 0..=1.
    pub answer: Vec<f32>,
    /// While the question was read; likewise.
    pub question: Vec<f32>,
}

impl AttentionEvidence {
    /// From mass by sentence ([`sentence_mass`]): of the answer's rows, of the question's rows, and of rows that
    /// stand before the question and so know nothing of it.
    ///
    /// The last is the null query of QRHead (arXiv 2506.09944): attention that goes to a sentence whatever is asked
    /// (the first one, headings, the end) is taken off before sentences are compared.
    pub fn new(answer: &[f32], question: &[f32], null: &[f32]) -> AttentionEvidence {
        AttentionEvidence {
            answer: above_null(answer, null),
            question: above_null(question, null),
        }
    }
}

/// Mass by sentence from mass by token.
///
/// `tokens` gives the first byte of each token in the document, ascending, and its mass. A sentence's mass is the
/// sum over the tokens that begin in it; a token between two sentences (white space) counts for neither.
pub fn sentence_mass(
    index: &SentenceIndex,
    tokens: impl IntoIterator<Item = (usize, f32)>,
) -> Vec<f32> {
    let mut mass = vec![0.0; index.len()];
    let spans = index.spans();
    let mut sentence = 0;
    for (start, weight) in tokens {
        while sentence < spans.len() && spans[sentence].end <= start {
            sentence += 1;
        }
        let Some(span) = spans.get(sentence) else {
            break;
        };
        // most tokens carry the blank before their word: the first token of a sentence begins one byte early
        if start + 1 >= span.start {
            mass[sentence] += weight;
        }
    }
    mass
}

/// Shares of the whole less the null's shares, not below 0, scaled so that the largest is 1.
fn above_null(mass: &[f32], null: &[f32]) -> Vec<f32> {
    let total: f32 = mass.iter().sum();
    let null_total: f32 = null.iter().sum();
    if total <= 0.0 {
        return vec![0.0; mass.len()];
    }
    let share = |values: &[f32], sum: f32, at: usize| {
        if sum > 0.0 {
            values.get(at).copied().unwrap_or(0.0) / sum
        } else {
            0.0
        }
    };
    let mut above: Vec<f32> = (0..mass.len())
        .map(|at| (share(mass, total, at) - share(null, null_total, at)).max(0.0))
        .collect();
    let largest = above.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 {
        above.iter_mut().for_each(|value| *value /= largest);
    }
    above
}
