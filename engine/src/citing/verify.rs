//! Whether cited words bear a claim out, judged by the words alone.

use super::Candidate;
use super::index::SentenceIndex;
use super::mention::{Evidence, Rival, borne_out_by, borrowed};
use super::misplaced::is_misplaced;
use super::query::{Keys, Query, Weighed, is_negated, share_held};
use super::rank::shares;
use super::terms::{Term, terms};
use lectern_protocol::SupportState;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Share of the answer's weight that must stand in the cited words to be `Supported`, and to be `Partly`.
const SUPPORTED_SHARE: f32 = 0.6;
const PARTLY_SHARE: f32 = 0.35;

/// An answer with no more telling terms than this is read together with the question: its few words stand in many
/// sentences, so the question's must stand in the cited words too, or at least near them. Twice as many are read so
/// with half the rigour: that may be a long name, or a whole sentence that needs no question.
const SHORT_ANSWER: usize = 4;

/// How much of the question must stand there for a short answer ([`question_standing`]) to be `Supported`, and to be
/// `Partly`; chosen on one half of the questions so that 19 of 20 right answers pass the first (`docs/citations.md`).
const SUPPORTED_QUESTION: f32 = 1.05;
const PARTLY_QUESTION: f32 = 0.5;

/// An answer that says again so many telling words of the question, or more, speaks of what the question is about: the cited words must
/// hold [`PREMISE_SHARE`] of them, or their paragraph most ([`PREMISE_NEAR`]), to be `Supported`.
const PREMISE_TERMS: usize = 3;
const PREMISE_SHARE: f32 = 0.4;
const PREMISE_NEAR: f32 = 0.7;

/// A share of the question that any sentence holds by chance.
const CHANCE_SHARE: f32 = 0.05;

/// What the cited sentences are to a claim.
pub(super) struct Finding {
    /// The claim's state if they are all that is shown for it.
    pub state: SupportState,
    /// Which of them hold a name or number that the question did not bring, with what is said of it; all, if the
    /// answer has none.
    pub telling: Vec<bool>,
}

/// Judges `cited` as the only evidence for the claim. `rivals` are what the sentences hold that rank highest.
pub(super) fn verify(
    query: &Query,
    text: &str,
    index: &SentenceIndex,
    cited: &[Candidate],
    rivals: &[Rival],
) -> Finding {
    let words = |c: &Candidate| index.span(c.sentence).of(text).unwrap_or_default();
    let evidence: Vec<Evidence> = cited
        .iter()
        .map(|c| Evidence::new(query, text, index, c.sentence))
        .collect();

    let mut telling = vec![false; cited.len()];
    let (mut missing, mut brought, mut found) = (0, 0, 0);
    let holding_most = |words: &[Weighed]| {
        let share = |e: &&Evidence| words.iter().map(|w| w.weight * e.own.share(&w.term)).sum();
        evidence
            .iter()
            .max_by(|a, b| f32::total_cmp(&share(a), &share(b)))
    };
    let fullest = holding_most(&query.answer);
    let brought_along = fullest.map_or_else(Vec::new, |e| borrowed(query, index, &e.own));
    for mention in query.mentions.iter().chain(&brought_along) {
        let by = borne_out_by(mention, query, index, &evidence, rivals);
        missing += usize::from(by.is_empty());
        if !mention.asked {
            brought += 1;
            found += usize::from(!by.is_empty());
            by.iter().for_each(|&at| telling[at] = true);
        }
    }
    if brought == 0 {
        telling.fill(true);
    }

    let share = answer_share(query, &evidence);
    // a second sentence lends the question's words to the one with the answer only if it goes on about it
    let asked = holding_most(&query.sought).map_or(0.0, |holder| {
        let speaking = |e: &&Evidence| std::ptr::eq(*e, holder) || e.continues(holder, index);
        let standing = evidence
            .iter()
            .filter(speaking)
            .map(|e| question_standing(query, index, e));
        standing.fold(0.0, f32::max)
    });
    let quoted = query
        .quotations
        .iter()
        .all(|quotation| cited.iter().any(|c| holds_words(words(c), quotation)));
    let denied = query.negated
        != cited
            .iter()
            .any(|c| is_negated(matched_words(query, words(c))));

    let all: Vec<&str> = cited.iter().map(words).collect();
    let whole = missing == 0
        && quoted
        && !denied
        && speaks_of_what_is_asked(query, &evidence)
        && !is_misplaced(query, &all);
    // what the question brought proves nothing: half of what the answer adds must be borne out
    let half = found * 2 >= brought;
    let state = if whole && share >= SUPPORTED_SHARE && asked >= SUPPORTED_QUESTION {
        SupportState::Supported
    } else if half && share >= PARTLY_SHARE && asked >= PARTLY_QUESTION {
        SupportState::Partly
    } else {
        SupportState::Unsupported
    };
    Finding { state, telling }
}

/// Share of the answer's weight that stands in the cited sentences. Names that the question brought may stand near.
fn answer_share(query: &Query, evidence: &[Evidence]) -> f32 {
    let premise = |term: &Term| {
        let asked = query.mentions.iter().filter(|mention| mention.asked);
        asked
            .flat_map(|mention| &mention.terms)
            .any(|other| other.exact == term.exact)
    };
    let held = |term: &Term| {
        let premise = premise(term);
        let share = |e: &Evidence| {
            let near = if premise { e.near.share(term) } else { 0.0 };
            e.own.share(term).max(near)
        };
        evidence.iter().map(share).fold(0.0, f32::max)
    };
    share_held(&query.sought, held).unwrap_or(0.0)
}

/// Whether the cited sentences are about what the answer says that they are about, as far as it says so in the question's words: "The
/// amount of tree species is 10% of the carbon" is not borne out by a sentence on carbon, though all that it adds stands there.
fn speaks_of_what_is_asked(query: &Query, evidence: &[Evidence]) -> bool {
    let mut seen = HashSet::new();
    let said = query
        .answer
        .iter()
        .zip(query.tells_answer.iter().zip(&query.adds));
    let premise: Vec<&Weighed> = said
        .filter(|(_, (tells, adds))| **tells && !**adds)
        .map(|(weighed, _)| weighed)
        .filter(|weighed| seen.insert(weighed.term.exact))
        .collect();
    if premise.len() < PREMISE_TERMS {
        return true;
    }
    let share = |keys: fn(&Evidence) -> &Keys| {
        let held = |term: &Term| {
            let shares = evidence.iter().map(|e| keys(e).share(term));
            shares.fold(0.0, f32::max)
        };
        query.share_factor() * share_held(premise.iter().copied(), held).unwrap_or(0.0)
    };
    share(|e| &e.own) >= PREMISE_SHARE || share(|e| &e.paragraph) >= PREMISE_NEAR
}

/// How much of the question a cited sentence and its paragraph hold, beside the sentence of the document that holds
/// most of it: an answer from elsewhere is outdone by the sentence that the question is about, while a question in
/// other words than the document's is in other words everywhere. 2 at most, but for chance; without bound for an
/// answer that is long enough to be read alone.
fn question_standing(query: &Query, index: &SentenceIndex, evidence: &Evidence) -> f32 {
    let letters = if query.is_unspaced() { 2 } else { 1 };
    let telling = query.added / letters;
    if telling > 2 * SHORT_ANSWER || query.asked.is_empty() {
        return f32::INFINITY;
    }
    let most = shares(&query.asked, index).into_iter().fold(0.0, f32::max);
    if most < CHANCE_SHARE {
        // asked in words that the document has not, perhaps in another language: nothing to compare
        return PARTLY_QUESTION;
    }
    let share = |keys: &Keys| share_held(&query.asked, |term| keys.share(term)).unwrap_or(0.0);
    let near = (share(&evidence.near) + share(&evidence.paragraph)) / 2.0;
    let standing = (share(&evidence.own) + near) / (most + CHANCE_SHARE);
    if telling <= SHORT_ANSWER {
        standing
    } else {
        (2.0 * standing).max(PARTLY_QUESTION)
    }
}

/// Whether `quotation` stands in `words`, letter case and white space aside.
fn holds_words(words: &str, quotation: &str) -> bool {
    let normal = |text: &str| -> String {
        let lower = text.to_lowercase().replace('’', "'");
        lower.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    normal(words).contains(normal(quotation).trim_end_matches(['.', ',', ';', '!', '?']))
}

/// The shortest part of a cited sentence with all the words that the answer shares with it: a "not" outside of it belongs to
/// another clause, also where a word stands on both sides of it.
fn matched_words<'w>(query: &Query, words: &'w str) -> &'w str {
    let said: Vec<Term> = query
        .answer
        .iter()
        .filter(|w| w.weight > 0.5)
        .map(|w| w.term)
        .collect();
    let keys = Keys::new(&said);
    let shared: Vec<Term> = terms(words)
        .into_iter()
        .filter(|term| keys.share(term) > 0.0)
        .collect();
    let all = shared
        .iter()
        .map(|term| term.stem)
        .collect::<HashSet<u64>>();
    let mut held: HashMap<u64, usize> = HashMap::new();
    let mut first = 0;
    let mut shortest: Option<Range<usize>> = None;
    for last in &shared {
        *held.entry(last.stem).or_default() += 1;
        // What stands again later is not needed at the beginning.
        while let Some(again) = held
            .get_mut(&shared[first].stem)
            .filter(|times| **times > 1)
        {
            *again -= 1;
            first += 1;
        }
        let part = shared[first].span.start..last.span.end;
        if held.len() == all.len() && shortest.as_ref().is_none_or(|s| part.len() < s.len()) {
            shortest = Some(part);
        }
    }
    shortest
        .and_then(|part| words.get(part))
        .unwrap_or_default()
}
