//! What must stand together: a name or a number of the answer, and the words it is said with.
//!
//! A document that names Kony Ealy in one sentence and tells of a foul in the next does not say that the foul was his.
//! So a name counts as borne out only where its sentence also holds what the answer says of it. A pronoun may stand
//! for the name ("He was called for holding"), if the name stands before it in the paragraph and the sentence itself
//! names nobody else.

use super::index::{SentenceIndex, is_pronoun};
use super::query::{Keys, Query, Weighed, share_held};
use super::terms::{Term, TermKind, terms};
use std::ops::Range;

/// Share of a mention's context that a sentence must hold to be about it. Lower than half, because an answer puts
/// much of what it says in other words.
const LEAST_CONTEXT: f32 = 0.2;

/// A sentence with a mention must hold as much of its context, beside the sentence without it that holds most: where
/// another one tells the same of somebody else, the mention was put in its place.
const RIVAL_SHARE: f32 = 0.7;

/// Telling words of a phrase that an answer can hardly share with another sentence by chance; pairs of characters.
const LEAST_BORROWED: usize = 2;
const LEAST_BORROWED_PAIRS: usize = 3;

/// Share of the answer's weight that a phrase has at most: what is longer says something by itself.
const MOST_BORROWED: f32 = 0.35;

/// What a word of the question tells beside one of the answer that stands next to the mention.
const QUESTION_CONTEXT: f32 = 0.25;

/// What a word tells that stands in the paragraph, beside one that stands in the sentence itself.
const NEAR_CONTEXT: f32 = 0.5;

/// A name after one of these is where or when something happened, seldom who did it.
const PREPOSITIONS: &[&str] = &[
    "in", "at", "on", "from", "near", "by", "with", "for", "to", "into", "during", "since",
    "until", "after", "before", "against", "over", "through", "between", "under", "behind",
];

/// A name, a number, or several that stand side by side in the answer ("Von Miller", "7 January 1943").
#[derive(Debug, Clone)]
pub(super) struct Mention {
    /// In order.
    pub terms: Vec<Term>,
    /// Whether the question brings it: such a premise proves nothing, and may stand near.
    pub asked: bool,
    /// What is said of it: the answer's other telling words, the nearer the heavier, and the question's.
    context: Vec<Weighed>,
}

/// The mentions of an answer whose terms are `answer`, as far as `critical` says which of them are names and numbers
/// and whether the question brings them. `question` are the telling terms that only the question has.
pub(super) fn mentions(
    sentence: &str,
    answer: &[Weighed],
    critical: &[Option<bool>],
    telling: &[bool],
    question: &[Weighed],
) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < answer.len() {
        let Some(asked) = critical[at] else {
            at += 1;
            continue;
        };
        let start = at;
        at += 1;
        while at < answer.len()
            && critical[at] == Some(asked)
            && are_adjacent(sentence, &answer[at - 1].term, &answer[at].term)
        {
            at += 1;
        }
        found.push(mention(start..at, asked, answer, telling, question));
    }
    found
}

/// The terms of `answer` in `run` as one mention.
fn mention(
    run: Range<usize>,
    asked: bool,
    answer: &[Weighed],
    telling: &[bool],
    question: &[Weighed],
) -> Mention {
    let distance = |other: usize| {
        let between = match other < run.start {
            true => other + 1..=run.start,
            false => run.end..=other,
        };
        between.filter(|&n| telling[n]).count().max(1) as f32
    };
    let said = (0..answer.len())
        .filter(|other| telling[*other] && !run.contains(other))
        .map(|other| Weighed {
            term: answer[other].term,
            weight: answer[other].weight / distance(other),
        });
    let asked_words = question.iter().map(|weighed| Weighed {
        term: weighed.term,
        weight: weighed.weight * QUESTION_CONTEXT,
    });
    Mention {
        context: said.chain(asked_words).collect(),
        terms: answer[run].iter().map(|w| w.term).collect(),
        asked,
    }
}

/// Whether nothing but a blank or a mark within a name, a date or a range stands between two terms.
fn are_adjacent(sentence: &str, left: &Term, right: &Term) -> bool {
    let gap = sentence.get(left.span.end..right.span.start);
    let date = left.kind == TermKind::Number && right.kind == TermKind::Number;
    gap.is_some_and(|gap| {
        gap.chars()
            .all(|c| c.is_whitespace() || matches!(c, '-' | '–' | '.') || date && c == ',')
    })
}

/// Phrases of the answer that `own`, the sentence that holds most of it, has not, but another sentence of the
/// document has as a whole: they were brought from there, and are mentions as names are.
pub(super) fn borrowed(query: &Query, index: &SentenceIndex, own: &Keys) -> Vec<Mention> {
    let least = if query.is_unspaced() {
        LEAST_BORROWED_PAIRS
    } else {
        LEAST_BORROWED
    };
    let total: f32 = query.answer.iter().map(|weighed| weighed.weight).sum();
    let mut found = Vec::new();
    let foreign = |at: usize| query.adds[at] && own.share(&query.answer[at].term) == 0.0;
    let mut at = 0;
    while at < query.answer.len() {
        let start = at;
        // function words go with the phrase that they stand in
        let mut end = at;
        while at < query.answer.len() && (foreign(at) || !query.tells_answer[at]) {
            at += 1;
            if foreign(at - 1) {
                end = at;
            }
        }
        at = at.max(start + 1);
        let phrase: Vec<Term> = (start..end)
            .filter(|&n| foreign(n))
            .map(|n| query.answer[n].term)
            .collect();
        let weight: f32 = (start..end).map(|n| query.answer[n].weight).sum();
        let part = weight <= MOST_BORROWED * total;
        if part && phrase.len() >= least && index.holds_together(&phrase) {
            let run = start..end;
            let mut brought = mention(
                run,
                false,
                &query.answer,
                &query.tells_answer,
                &query.unsaid,
            );
            brought.terms = phrase;
            found.push(brought);
        }
    }
    found
}

/// A cited sentence, as far as it can be evidence.
pub(super) struct Evidence {
    /// Its number in the index.
    sentence: usize,
    /// What it holds.
    pub own: Keys,
    /// What its paragraph holds, it included, but for sentences that name somebody else.
    pub near: Keys,
    /// What its whole paragraph holds.
    pub paragraph: Keys,
    /// Whether it is about somebody whom neither answer nor question names.
    names_another: bool,
}

impl Evidence {
    /// Takes sentence `sentence` apart.
    pub fn new(query: &Query, text: &str, index: &SentenceIndex, sentence: usize) -> Evidence {
        let words = |at: usize| index.span(at).of(text).unwrap_or_default();
        let own = terms(words(sentence));
        let names_another = names_another(query, index, words(sentence), &own);
        let (mut lent, mut paragraph) = (Vec::new(), Vec::new());
        for at in index.paragraph(sentence) {
            let held = terms(words(at));
            paragraph.extend_from_slice(&held);
            let of_another = names_another || self::names_another(query, index, words(at), &held);
            if at == sentence || !of_another {
                lent.extend(held);
            }
        }
        Evidence {
            sentence,
            own: Keys::new(&own),
            near: Keys::new(&lent),
            paragraph: Keys::new(&paragraph),
            names_another,
        }
    }

    /// Whether it stands after `other` in the same paragraph and is about nobody else: a pronoun in it may stand for
    /// who is named there.
    pub fn continues(&self, other: &Evidence, index: &SentenceIndex) -> bool {
        !self.names_another
            && other.sentence < self.sentence
            && index.paragraph(self.sentence).contains(&other.sentence)
    }

    /// How much of what the answer says of `mention` it says.
    fn context(&self, mention: &Mention) -> f32 {
        share_of(mention, |term| {
            let near = NEAR_CONTEXT * self.near.share(term);
            self.own.share(term).max(near)
        })
    }
}

/// A sentence that ranks high, and may tell of somebody else what the answer says.
pub(super) struct Rival {
    own: Keys,
    /// Whether it is about somebody whom neither answer nor question names.
    names_another: bool,
    /// Whether it holds a number that neither answer nor question has.
    counts_otherwise: bool,
}

impl Rival {
    /// Takes sentence `sentence` apart.
    pub fn new(query: &Query, text: &str, index: &SentenceIndex, sentence: usize) -> Rival {
        let words = index.span(sentence).of(text).unwrap_or_default();
        let own = terms(words);
        Rival {
            names_another: names_another(query, index, words, &own),
            counts_otherwise: own
                .iter()
                .any(|term| term.kind == TermKind::Number && !query.tells(term)),
            own: Keys::new(&own),
        }
    }

    /// Whether it could have something else in the mention's place: a name for a name, a number for a number.
    fn competes(&self, mention: &Mention) -> bool {
        let any = |kind| mention.terms.iter().any(|term| term.kind == kind);
        let (name, number) = (any(TermKind::Capitalised), any(TermKind::Number));
        name && self.names_another || number && self.counts_otherwise || !name && !number
    }
}

/// Share of a mention's context that is held; 1 if nothing is said of it.
fn share_of(mention: &Mention, held: impl Fn(&Term) -> f32) -> f32 {
    share_held(&mention.context, held).unwrap_or(1.0)
}

/// Which of the `cited` sentences bear `mention` out together: none, the one that holds it and what is said of it, or
/// two, one that names and a later one of the same paragraph that tells. `rivals` are the sentences that are nearest
/// to the answer as a whole.
pub(super) fn borne_out_by(
    mention: &Mention,
    query: &Query,
    index: &SentenceIndex,
    cited: &[Evidence],
    rivals: &[Rival],
) -> Vec<usize> {
    let holds = |keys: &Keys| holds(mention, index, keys);
    let most = rivals
        .iter()
        .filter(|rival| !holds(&rival.own) && rival.competes(mention))
        .map(|rival| share_of(mention, |term| rival.own.share(term)))
        .fold(0.0, f32::max);
    let least = (LEAST_CONTEXT / query.share_factor()).max(RIVAL_SHARE * most);
    let about: Vec<usize> = (0..cited.len())
        .filter(|&at| cited[at].context(mention) >= least)
        .collect();
    if let Some(&at) = about.iter().find(|&&at| holds(&cited[at].own)) {
        // what is said of the name may follow ("He was called for holding")
        let says_more = |other: &&usize| {
            let teller = &cited[**other];
            teller.continues(&cited[at], index)
                && teller.context(mention) > cited[at].context(mention)
        };
        let told = about.iter().find(says_more);
        return std::iter::once(at).chain(told.copied()).collect();
    }
    for at in about {
        let teller = &cited[at];
        if mention.asked && !teller.names_another && holds(&teller.paragraph) {
            return vec![at];
        }
        let namer = cited
            .iter()
            .position(|other| teller.continues(other, index) && holds(&other.own));
        if let Some(namer) = namer {
            return vec![at, namer];
        }
    }
    Vec::new()
}

/// Whether all words of a mention are held, or the last one of a name that the document has in full elsewhere:
/// "Quill" for Bartholomew Quill.
pub(super) fn holds(mention: &Mention, index: &SentenceIndex, keys: &Keys) -> bool {
    if mention.terms.iter().all(|term| keys.holds(term)) {
        return true;
    }
    let last = mention.terms.last().is_some_and(|term| keys.holds(term));
    let named = |term: &Term| term.kind == TermKind::Capitalised;
    mention.terms.len() > 1
        && last
        && mention.terms.iter().all(named)
        && index.holds_together(&mention.terms)
}

/// Whether a sentence is about somebody whom neither the answer nor the question names: such a name stands before
/// the last word that it shares with them, and not as a place or a time.
fn names_another(query: &Query, index: &SentenceIndex, words: &str, held: &[Term]) -> bool {
    let Some(last) = held.iter().rposition(|term| query.tells(term)) else {
        return false;
    };
    if is_pronoun(held[0].span.of(words).unwrap_or_default()) {
        return false;
    }
    let mut placed = false;
    let mut after_name = false;
    for (at, term) in held[..last].iter().enumerate() {
        let word = term.span.of(words).unwrap_or_default();
        let name = term.kind == TermKind::Capitalised
            && index.is_name(term)
            && (at > 0 || index.is_name_inside(term));
        if name && !query.tells(term) && !placed {
            return true;
        }
        let small = word.to_lowercase();
        placed = match name {
            // "in Santa Clara": the second word goes with the first
            true => placed,
            false if after_name => PREPOSITIONS.contains(&small.as_str()),
            false => {
                PREPOSITIONS.contains(&small.as_str())
                    || placed && matches!(small.as_str(), "the" | "a" | "an")
            }
        };
        after_name = name;
    }
    false
}
