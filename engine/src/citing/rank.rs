//! Ranks the document's sentences as evidence for a claim: words and attention together.

use super::AttentionEvidence;
use super::index::{STEM_SHARE, SentenceIndex};
use super::query::{Query, Weighed};
use super::terms::{Term, terms};

/// Sentences looked at closely, by words and by attention each.
const CLOSE_LOOKS: usize = 24;

/// What speaks for a sentence, each in 0..=1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Features {
    /// Share of the answer's terms it holds, by inverse document frequency.
    pub answer: f32,
    /// Share of the question's terms it holds.
    pub question: f32,
    /// Share of the question's terms that stand in its paragraph.
    pub paragraph: f32,
    /// The heaviest run of the answer's terms that it holds in the same order without a gap, as a share.
    pub run: f32,
    /// Attention while the answer was generated.
    pub attention: f32,
    /// Attention while the question was read.
    pub question_attention: f32,
    /// How much longer than the mean it is, 0 for the mean or shorter: a long sentence holds more words by chance.
    pub length: f32,
}

/// How much each of the [`Features`] tells. The defaults are fitted on half of XQuAD (`docs/citations.md`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of [`Features::answer`].
    pub answer: f32,
    /// Of [`Features::question`].
    pub question: f32,
    /// Of [`Features::paragraph`].
    pub paragraph: f32,
    /// Of [`Features::run`].
    pub run: f32,
    /// Of [`Features::attention`].
    pub attention: f32,
    /// Of [`Features::question_attention`].
    pub question_attention: f32,
    /// Of [`Features::length`].
    pub length: f32,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            answer: 0.30,
            question: 0.20,
            paragraph: 0.10,
            run: 0.15,
            attention: 0.20,
            question_attention: 0.10,
            length: -0.05,
        }
    }
}

impl Weights {
    /// Words alone.
    pub fn lexical(self) -> Weights {
        Weights {
            attention: 0.0,
            question_attention: 0.0,
            ..self
        }
    }

    /// Attention alone.
    pub fn attention(self) -> Weights {
        Weights {
            answer: 0.0,
            question: 0.0,
            paragraph: 0.0,
            run: 0.0,
            length: 0.0,
            ..self
        }
    }

    /// The fused score.
    pub fn score(&self, features: &Features) -> f32 {
        self.answer * features.answer
            + self.question * features.question
            + self.paragraph * features.paragraph
            + self.run * features.run
            + self.attention * features.attention
            + self.question_attention * features.question_attention
            + self.length * features.length
    }
}

/// A sentence of the document as evidence for a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its number in the [`SentenceIndex`].
    pub sentence: usize,
    /// What speaks for it.
    pub features: Features,
    /// Fused by [`Weights::score`].
    pub score: f32,
}

/// The sentences that most likely bear the claim out, best first; at most 48, none that has nothing for it.
pub(super) fn candidates(
    query: &Query,
    text: &str,
    index: &SentenceIndex,
    attention: Option<&AttentionEvidence>,
    weights: &Weights,
) -> Vec<Candidate> {
    let answer = shares(&query.sought, index);
    let question = shares(&query.asked, index);
    let attended = |at: usize| {
        let of = |values: &[f32]| values.get(at).copied().unwrap_or(0.0);
        attention.map_or((0.0, 0.0), |a| (of(&a.answer), of(&a.question)))
    };
    let cheap = |at: usize| {
        let (attention, question_attention) = attended(at);
        Features {
            answer: answer[at],
            question: question[at],
            attention,
            question_attention,
            length: index.excess_length(at),
            ..Features::default()
        }
    };
    let by_words = |at: usize| weights.lexical().score(&cheap(at));
    let by_attention = |at: usize| weights.attention().score(&cheap(at));
    let mut close = best(index.len(), by_words);
    close.extend(best(index.len(), by_attention));
    close.sort_unstable();
    close.dedup();
    let mut found: Vec<Candidate> = close
        .into_iter()
        .map(|sentence| {
            let own = terms(index.span(sentence).of(text).unwrap_or_default());
            let features = Features {
                paragraph: query.share_in(&query.asked, &index.paragraph_terms(text, sentence)),
                run: heaviest_run(&query.sought, &own),
                ..cheap(sentence)
            };
            Candidate {
                sentence,
                features,
                score: weights.score(&features),
            }
        })
        .filter(|candidate| candidate.score > 0.0)
        .collect();
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then(a.sentence.cmp(&b.sentence))
    });
    found
}

/// The share of the terms' weight that each sentence holds, from the postings.
pub(super) fn shares(query: &[Weighed], index: &SentenceIndex) -> Vec<f32> {
    let mut held = vec![0.0; index.len()];
    let total: f32 = query.iter().map(|term| term.weight).sum();
    if total <= 0.0 {
        return held;
    }
    for Weighed { term, weight } in query {
        let weight = weight / total;
        if term.exact == term.stem {
            index
                .holders(term.exact)
                .iter()
                .for_each(|&at| held[at as usize] += weight);
            continue;
        }
        // a sentence that holds the exact term holds its stem too
        index
            .holders(term.stem)
            .iter()
            .for_each(|&at| held[at as usize] += weight * STEM_SHARE);
        index
            .holders(term.exact)
            .iter()
            .for_each(|&at| held[at as usize] += weight * (1.0 - STEM_SHARE));
    }
    held
}

/// The [`CLOSE_LOOKS`] numbers below `count` with the highest score above 0.
fn best(count: usize, score: impl Fn(usize) -> f32) -> Vec<usize> {
    let mut scored: Vec<(f32, usize)> = (0..count)
        .map(|at| (score(at), at))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    if scored.len() > CLOSE_LOOKS {
        scored.select_nth_unstable_by(CLOSE_LOOKS, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        scored.truncate(CLOSE_LOOKS);
    }
    scored.into_iter().map(|(_, at)| at).collect()
}

/// The largest weight of a run of neighbouring query terms that stands in `held` in the same order and without a
/// gap, as a share of all of them: the longest common substring, in terms.
fn heaviest_run(query: &[Weighed], held: &[Term]) -> f32 {
    let total: f32 = query.iter().map(|term| term.weight).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let mut above = vec![0.0f32; held.len() + 1];
    let mut heaviest = 0.0f32;
    for Weighed { term, weight } in query {
        let mut row = vec![0.0; held.len() + 1];
        for (at, other) in held.iter().enumerate() {
            if term.exact == other.exact {
                row[at + 1] = above[at] + weight;
                heaviest = heaviest.max(row[at + 1]);
            }
        }
        above = row;
    }
    heaviest / total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(text: &str) -> Vec<Weighed> {
        terms(text)
            .into_iter()
            .map(|term| Weighed { term, weight: 1.0 })
            .collect()
    }

    #[test]
    fn the_heaviest_run_is_contiguous_in_both() {
        let held = terms("the quick brown fox jumped over the lazy dog");
        assert_eq!(heaviest_run(&weighed("quick brown fox"), &held), 1.0);
        assert_eq!(heaviest_run(&weighed("brown quick fox"), &held), 1.0 / 3.0);
        assert_eq!(heaviest_run(&weighed("lazy dog slept well"), &held), 0.5);
        assert_eq!(heaviest_run(&weighed("cat"), &held), 0.0);
        assert_eq!(heaviest_run(&[], &held), 0.0);
    }

    #[test]
    fn only_the_best_positive_scores_are_kept() {
        let kept = best(100, |at| at as f32 - 50.0);
        assert_eq!(kept.len(), CLOSE_LOOKS);
        assert!(kept.iter().all(|&at| at >= 76), "{kept:?}");
        assert_eq!(best(3, |_| 0.0), Vec::<usize>::new());
    }
}
