//! Whether cited words bear a claim out, judged by the words alone.

use super::Candidate;
use super::index::SentenceIndex;
use super::query::{Keys, Query, is_negated};
use super::terms::{Term, terms};
use lectern_protocol::SupportState;

/// Share of the answer's weight that must stand in the cited words to be `Supported`, and to be `Partly`.
const SUPPORTED_SHARE: f32 = 0.6;
const PARTLY_SHARE: f32 = 0.35;

/// An answer with no more telling terms than this is read together with the question: its few words stand in many
/// sentences, so the question's must stand in the cited words too, or at least near them. Twice as many are read so
/// with half the rigour: that may be a long name, or a whole sentence that needs no question.
const SHORT_ANSWER: usize = 4;

/// Share of the question's weight that must stand there for a short answer to be `Supported`, and to be `Partly`;
/// chosen so that more than 9 of 10 right answers pass the first and fewer than 2 of 10 wrong ones (`docs/citations.md`).
const SUPPORTED_QUESTION: f32 = 0.30;
const PARTLY_QUESTION: f32 = 0.12;

/// In scripts without spaces most pairs of characters straddle two words and recur nowhere: shares are about half of
/// what they are for words.
const UNSPACED_FACTOR: f32 = 2.0;

/// The state of the claim if `cited` is all that is shown for it.
pub(super) fn state(
    query: &Query,
    text: &str,
    index: &SentenceIndex,
    cited: &[Candidate],
) -> SupportState {
    let words = |c: &Candidate| index.span(c.sentence).of(text).unwrap_or_default();
    let own: Vec<Term> = cited.iter().flat_map(|c| terms(words(c))).collect();
    let near: Vec<Term> = cited
        .iter()
        .flat_map(|c| index.paragraph_terms(text, c.sentence))
        .collect();
    let (own_keys, near_keys) = (Keys::new(&own), Keys::new(&near));

    let stands =
        |(term, asked): &(Term, bool)| own_keys.holds(term) || (*asked && near_keys.holds(term));
    let critical = query.critical.len();
    let missing = query.critical.iter().filter(|item| !stands(item)).count();
    // what the answer says beyond the question must stand in the cited words; what the question brought, near them
    let premise = |term: &Term| {
        query
            .critical
            .iter()
            .any(|(other, asked)| *asked && other.exact == term.exact)
    };
    let total: f32 = query.answer.iter().map(|weighed| weighed.weight).sum();
    let found: f32 = query
        .answer
        .iter()
        .map(|weighed| {
            let near = if premise(&weighed.term) {
                near_keys.share(&weighed.term)
            } else {
                0.0
            };
            weighed.weight * own_keys.share(&weighed.term).max(near)
        })
        .sum();
    let share = if total > 0.0 { found / total } else { 0.0 };

    let asked = question_share(query, &own, &near);

    let quoted = query
        .quotations
        .iter()
        .all(|quotation| cited.iter().any(|c| holds_words(words(c), quotation)));
    let denied = query.negated
        != cited
            .iter()
            .any(|c| is_negated(matched_words(query, words(c))));

    let whole = missing == 0 && quoted && !denied;
    if whole && share >= SUPPORTED_SHARE && asked >= SUPPORTED_QUESTION {
        return SupportState::Supported;
    }
    let half = missing * 2 <= critical;
    if half && share >= PARTLY_SHARE && asked >= PARTLY_QUESTION {
        return SupportState::Partly;
    }
    SupportState::Unsupported
}

/// How much of the question stands in the cited words (`own`) and in their paragraphs (`near`), the mean of both; 1
/// for an answer that is long enough to be read alone.
fn question_share(query: &Query, own: &[Term], near: &[Term]) -> f32 {
    let (factor, letters) = if query.is_unspaced() {
        (UNSPACED_FACTOR, 2)
    } else {
        (1.0, 1)
    };
    let telling = query
        .answer
        .iter()
        .filter(|weighed| weighed.weight > 0.5)
        .count()
        / letters;
    if telling > 2 * SHORT_ANSWER || query.asked.is_empty() {
        return 1.0;
    }
    let share = query.share_in(&query.asked, own) + query.share_in(&query.asked, near);
    let share = factor * share / 2.0;
    if telling <= SHORT_ANSWER {
        share
    } else {
        (2.0 * share).max(PARTLY_QUESTION)
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

/// The part of a cited sentence from the first to the last word that the answer shares: a "not" outside of it
/// belongs to another clause.
fn matched_words<'w>(query: &Query, words: &'w str) -> &'w str {
    let said: Vec<Term> = query
        .answer
        .iter()
        .filter(|w| w.weight > 0.5)
        .map(|w| w.term)
        .collect();
    let keys = Keys::new(&said);
    let mut matched = terms(words)
        .into_iter()
        .filter(|term| keys.share(term) > 0.0);
    let Some(first) = matched.next() else {
        return "";
    };
    let last = matched.next_back().unwrap_or(first);
    words
        .get(first.span.start..last.span.end)
        .unwrap_or_default()
}
