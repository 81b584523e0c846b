//! From a sentence of an answer to the words of the document that bear it out, or to the finding that none do.
//!
//! In: the sentence, the question, the document's [`SentenceIndex`], and, where a model answered, the attention of
//! its retrieval heads as [`AttentionEvidence`]. Out: a [`Verdict`]: a support state and one to three whole
//! sentences of the document.
//!
//! Why this way. Models of this size do not cite when asked to (L-CiteEval F1 of 6 for 3B). Where their retrieval
//! heads look is informative, but also drawn to whatever stands near; words are exact, but blind to paraphrase. So
//! both rank every sentence of the document together ([`Weights`], fitted on held-out questions, `docs/citations.md`), and what
//! ranks first is shown only if it passes a check that uses the words alone: numbers, names and quotations of the
//! answer must stand in the cited words, together with what the answer says of them (`mention`), and no name or number in
//! another's place (`exchange`, `misplaced`). A wrong link is worse
//! than none, so what fails is `Unsupported`.
//!
//! An abstention ("The document does not say.") and a sentence that only leads in to others ("Here is a list:") have nothing
//! to be borne out: they are `NoClaim`. One word that tells nothing ("Yes.") is `Unsupported`. Neither carries a citation.
//!
//! [`Link`]s carry a citation out of Lectern, into an export, and back.

mod abstention;
mod evidence;
mod exchange;
mod hold;
mod index;
mod link;
mod mention;
mod misplaced;
mod outright;
mod query;
mod rank;
mod settle;
mod terms;
mod verify;

pub use abstention::is_abstention;
pub use evidence::{AttentionEvidence, sentence_mass};
pub use hold::{By, Compared, Hold, HoldError, HoldTest, Likelihood, Measure, Over, cited_words};
pub use index::SentenceIndex;
pub use link::{Fingerprint, Link, LinkError};
pub use outright::Outright;
pub(crate) use query::tells_nothing;
pub use rank::{Candidate, Features, Weights};
pub use settle::{Settled, settle};

use crate::document::Span;
use lectern_protocol::SupportState;
use mention::Rival;
use query::Query;

/// Sentences of the document cited for one sentence of an answer, at most.
const MOST_CITATIONS: usize = 3;

/// Ranked sentences that are tried as the main citation.
const MAIN_CANDIDATES: usize = 4;

/// A sentence is a rival of the one that ranks first from this share of its score on.
const CLOSE_SCORE: f32 = 0.6;

/// Ranked sentences that are compared with the cited ones.
const RIVALS: usize = 12;

/// Share of a claim's weight that a further citation must add.
const LEAST_GAIN: f32 = 0.2;

/// What is to be borne out.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'c> {
    /// One sentence of the answer.
    pub sentence: &'c str,
    /// The question it answers: a short answer ("Irene Adler.") means nothing without it.
    pub question: &'c str,
}

/// A cited sentence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cited {
    /// Where it stands in the document's text; always whole sentences.
    pub span: Span,
    /// Confidence in 0..=1: the fused score that ranked it.
    pub score: f32,
}

/// Whether a claim is borne out, and by what.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// `Supported` and `Partly` have one to three citations, the other states none.
    pub state: SupportState,
    /// Strongest first.
    pub citations: Vec<Cited>,
}

impl Verdict {
    fn without(state: SupportState) -> Verdict {
        Verdict {
            state,
            citations: Vec::new(),
        }
    }
}

/// Finds and verifies what bears `claim` out in the document that `index` was made of.
///
/// `text` is that document's text. `attention` is what the model's retrieval heads looked at; without it words
/// alone decide.
pub fn cite(
    claim: &Claim,
    text: &str,
    index: &SentenceIndex,
    attention: Option<&AttentionEvidence>,
    weights: &Weights,
) -> Verdict {
    let query = Query::new(claim, index);
    if query.says_nothing() {
        return Verdict::without(SupportState::NoClaim);
    }
    if !query.is_citable() {
        return Verdict::without(SupportState::Unsupported);
    }
    let mut ranked = rank::candidates(&query, text, index, attention, weights);
    let highest = ranked.first().map_or(0.0, |c| c.score);
    ranked.retain(|c| c.score >= highest * CLOSE_SCORE / 2.0);
    let rivals: Vec<Rival> = ranked
        .iter()
        .take(RIVALS)
        .map(|c| Rival::new(&query, text, index, c.sentence))
        .collect();
    // whatever it shares with the question, a sentence without what the answer adds is no evidence for it
    ranked.sort_by_key(|c| !query.holds_news(text, index, c));
    let mut best: Option<Verdict> = None;
    // the sentence that ranks first may miss the very number that the answer gives while a rival holds it
    let mains = ranked.iter().filter(|c| c.score >= highest * CLOSE_SCORE);
    for main in mains.take(MAIN_CANDIDATES) {
        let mut chosen = completed(&query, text, index, &ranked, *main);
        let mut finding = verify::verify(&query, text, index, &chosen, &rivals);
        if finding.telling.contains(&true) && finding.telling.contains(&false) {
            let mut telling = finding.telling.iter();
            chosen.retain(|_| telling.next().is_some_and(|telling| *telling));
            finding = verify::verify(&query, text, index, &chosen, &rivals);
        }
        let better = best
            .as_ref()
            .is_none_or(|found| strength(finding.state) > strength(found.state));
        if better && finding.state != SupportState::Unsupported {
            let cited = |c: &Candidate| Cited {
                span: index.span(c.sentence),
                score: c.score.clamp(0.0, 1.0),
            };
            best = Some(Verdict {
                state: finding.state,
                citations: chosen.iter().map(cited).collect(),
            });
        }
        if finding.state == SupportState::Supported {
            break;
        }
    }
    best.unwrap_or_else(|| Verdict::without(SupportState::Unsupported))
}

/// Every sentence that could bear `claim` out, best first, unverified: what weights are fitted on.
pub fn ranked(
    claim: &Claim,
    text: &str,
    index: &SentenceIndex,
    attention: Option<&AttentionEvidence>,
    weights: &Weights,
) -> Vec<Candidate> {
    rank::candidates(&Query::new(claim, index), text, index, attention, weights)
}

/// `main` and those that hold what it lacks of the answer, without any that adds nothing.
fn completed(
    query: &Query,
    text: &str,
    index: &SentenceIndex,
    ranked: &[Candidate],
    main: Candidate,
) -> Vec<Candidate> {
    let mut chosen = vec![main];
    let mut covered = query.held_by(text, index, &chosen);
    while chosen.len() < MOST_CITATIONS {
        let gain = |candidate: &Candidate| {
            let held = query.held_by(text, index, std::slice::from_ref(candidate));
            query.gain(&covered, &held)
        };
        let next = ranked
            .iter()
            .filter(|c| !chosen.contains(c))
            .map(|c| (gain(c), c))
            .filter(|(gain, _)| *gain >= LEAST_GAIN)
            .max_by(|a, b| (a.0 * a.1.score).total_cmp(&(b.0 * b.1.score)));
        let Some((_, next)) = next else {
            break;
        };
        chosen.push(*next);
        covered = query.held_by(text, index, &chosen);
    }
    // what was taken first may say nothing that the others do not say better
    let mut at = 0;
    while chosen.len() > 1 && at < chosen.len() {
        let mut others = chosen.clone();
        others.remove(at);
        let without = query.held_by(text, index, &others);
        if query.gain(&without, &covered) < LEAST_GAIN {
            chosen = others;
        } else {
            at += 1;
        }
    }
    chosen
}

/// Order of the states.
fn strength(state: SupportState) -> u8 {
    match state {
        SupportState::Unsupported | SupportState::NoClaim => 0,
        SupportState::Partly => 1,
        SupportState::Supported => 2,
    }
}

#[cfg(test)]
mod misplaced_tests;
#[cfg(test)]
mod tests;
