//! What an answer puts in another's place, as far as its own words tell.
//!
//! A small model fills the gap of a question with what it has just said: "Newton stripped the ball away from Newton" of "Miller stripped
//! the ball away from Newton". It answers "How many?" with the nearest number that it sees, where the text gives another one for
//! what was asked. It gives a name the title that it knows from elsewhere. All this is made of words that stand in the cited
//! sentence, but for a word or two, and so would pass for borne out.

use super::exchange::{all_that_tell, is_exchanged};
use super::mention::Mention;
use super::query::{Query, is_function_word};
use super::terms::{Term, TermKind, terms};
use std::collections::HashSet;

/// Words in whose place an answer may say a name again. "It" mostly stands for a thing.
const FOR_A_NAME: &[&str] = &[
    "he", "she", "they", "him", "her", "them", "his", "their", "its",
];

/// How much nearer to what was asked another number must stand: numbers of one list stand about as near.
const NEARER: f32 = 2.0;

/// Whether something of the answer stands in the place of what the cited sentences say there.
pub(super) fn is_misplaced(query: &Query, cited: &[&str]) -> bool {
    is_exchanged(query, cited)
        || fills_anothers_place(query, cited)
        || brings_a_title(query, cited)
        || another_number_is_nearer(query, cited)
}

/// Whether the answer says a name or a number twice where the cited sentences say it once, beside another of its kind that the
/// answer leaves out; or adds nothing to the question but the name again: "Jordan sued Jordan." to "Who sued Jordan?".
fn fills_anothers_place(query: &Query, cited: &[&str]) -> bool {
    let exacts =
        |mention: &Mention| -> Vec<u64> { mention.terms.iter().map(|term| term.exact).collect() };
    let mut said: HashSet<Vec<u64>> = HashSet::new();
    let mut again = query.mentions.iter().filter(|m| !said.insert(exacts(m)));
    let adds_nothing = !query.adds.contains(&true);
    again.any(|mention| {
        adds_nothing
            || all_that_tell(cited, |words| {
                says_once_beside_another(query, mention, words)
            })
    })
}

/// Nothing if `words` do not hold the mention.
fn says_once_beside_another(query: &Query, mention: &Mention, words: &str) -> Option<bool> {
    let held = terms(words);
    let last = mention.terms.last()?;
    let times = held.iter().filter(|term| term.exact == last.exact).count();
    if times == 0 {
        return None;
    }
    // What stands first is written large whatever it is.
    let mut inside = held.iter().skip(1);
    let another = inside.any(|term| term.kind == last.kind && !query.tells(term));
    let pointed_at = held.iter().any(|term| {
        let word = term.span.of(words).unwrap_or_default();
        FOR_A_NAME.contains(&word.to_lowercase().as_str())
    });
    Some(times == 1 && another && !pointed_at)
}

/// Whether the answer gives a name that the question did not bring a title, a word written large right before it, that no
/// cited sentence has: "Hurricane Beryl" is not borne out by "Tropical Storm Beryl".
fn brings_a_title(query: &Query, cited: &[&str]) -> bool {
    let sentence = query.sentence;
    let held: HashSet<u64> = cited
        .iter()
        .flat_map(|words| terms(words))
        .flat_map(|term| [term.exact, term.stem])
        .collect();
    let names = query.mentions.iter().filter(|mention| !mention.asked);
    let names = names.filter_map(|mention| mention.terms.first());
    names
        .filter(|name| name.kind == TermKind::Capitalised)
        .any(|name| {
            let before = query.answer.iter().map(|weighed| weighed.term);
            let title = before
                .skip(1) // what stands first is written large whatever it is
                .find(|title| sentence.get(title.span.end..name.span.start) == Some(" "));
            title.is_some_and(|title| {
                title.kind == TermKind::Capitalised
                    && !is_function_word(&title, sentence)
                    && !held.contains(&title.exact)
                    && !held.contains(&title.stem)
            })
        })
}

/// Whether the answer is a count alone, and the cited sentences give another one for what was asked: it stands much nearer to
/// the words of the question.
fn another_number_is_nearer(query: &Query, cited: &[&str]) -> bool {
    let added = query.answer.iter().zip(&query.adds);
    let added: Vec<Term> = added
        .filter(|(_, adds)| **adds)
        .map(|(weighed, _)| weighed.term)
        .collect();
    if added.is_empty() || !added.iter().all(|term| is_count(term, query.sentence)) {
        return false;
    }
    all_that_tell(cited, |words| has_nearer(query, &added, words))
}

/// Whether a number tells how many, not when or how large a share: a count stands beside what is counted, a year anywhere.
fn is_count(term: &Term, words: &str) -> bool {
    let number = term.span.of(words).unwrap_or_default();
    let year = number.len() == 4
        && number
            .parse()
            .is_ok_and(|year| (1000..2100).contains(&year));
    let behind = words.get(term.span.end..).unwrap_or_default();
    term.kind == TermKind::Number && !year && !behind.trim_start().starts_with(['%', '％'])
}

/// Nothing if `words` have none of the numbers of the answer.
fn has_nearer(query: &Query, added: &[Term], words: &str) -> Option<bool> {
    let held = terms(words);
    let is_said = |term: &Term| added.iter().any(|said| said.exact == term.exact);
    let said: Vec<usize> = (0..held.len()).filter(|&at| is_said(&held[at])).collect();
    let nearness = |at: usize| -> f32 {
        let asked = query.asked.iter().filter_map(|asked| {
            let same = |other: &usize| *other != at && (held[*other].stem == asked.term.stem);
            let nearest = (0..held.len()).filter(same).map(|other| other.abs_diff(at));
            nearest.min().map(|distance| asked.weight / distance as f32)
        });
        asked.sum()
    };
    let own = said.iter().map(|at| nearness(*at)).reduce(f32::max)?;
    let others = (0..held.len()).filter(|&at| {
        // Of one date, one range, or a share behind a count.
        let beside = said.iter().any(|said| said.abs_diff(at) <= 2);
        is_count(&held[at], words) && !beside && !query.tells(&held[at])
    });
    let other = others.map(nearness).fold(0.0, f32::max);
    Some(other > NEARER * own)
}
