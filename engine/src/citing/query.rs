//! A claim as weighed terms: what is looked for, and how much each of it tells.

use super::abstention::{Abstention, abstention};
use super::index::{STEM_SHARE, SentenceIndex};
use super::mention::{Mention, holds, mentions};
use super::terms::{Term, TermKind, terms};
use super::{Candidate, Claim};
use std::collections::HashSet;

/// English words that tell nothing of what a sentence is about, in short documents too, where frequency alone
/// does not show it. Other languages rely on frequency.
const FUNCTION_WORDS: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "in",
    "on",
    "at",
    "to",
    "for",
    "from",
    "by",
    "with",
    "as",
    "and",
    "or",
    "but",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "being",
    "has",
    "have",
    "had",
    "do",
    "does",
    "did",
    "it",
    "its",
    "he",
    "she",
    "they",
    "them",
    "his",
    "her",
    "their",
    "this",
    "that",
    "these",
    "those",
    "which",
    "who",
    "whom",
    "whose",
    "what",
    "when",
    "where",
    "why",
    "how",
    "there",
    "than",
    "then",
    "also",
    "can",
    "could",
    "will",
    "would",
    "may",
    "might",
    "should",
    "many",
    "much",
    "about",
    "into",
    "according",
    "document",
    "text",
    "please",
    "name",
    "tell",
    "me",
    "you",
    "your",
    "i",
    "we",
    "our",
    "us",
    "not",
    "no",
    "yes",
    "so",
    "such",
    "after",
    "before",
    "since",
    "during",
    "until",
    "while",
    "between",
    "through",
    "over",
    "under",
    "again",
    "both",
    "each",
    "all",
    "other",
    "only",
    "just",
    "because",
    "some",
    "any",
    "if",
];

/// What function words weigh beside others.
const FUNCTION_WEIGHT: f32 = 0.1;
/// What a word that the question brought weighs in the answer, beside one that it did not.
const REPEATED_WEIGHT: f32 = 0.05;
const NUMBER_WEIGHT: f32 = 2.0;
const NAME_WEIGHT: f32 = 1.5;

/// A term and how much it tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    pub term: Term,
    /// Inverse document frequency, times what its kind adds.
    pub weight: f32,
}

/// A claim, taken apart.
pub(super) struct Query<'c> {
    /// The answer's sentence.
    pub sentence: &'c str,
    /// The answer sentence's terms, in order, with repetitions.
    pub answer: Vec<Weighed>,
    /// The same, with what the question brought at a fraction of its weight, if the answer adds anything to that: only
    /// what it adds can prove it, and "The keeper of the lighthouse was Quill." is no more of an answer than "Quill.".
    pub sought: Vec<Weighed>,
    /// How many telling terms the answer adds; all of them, if it adds none.
    pub added: usize,
    /// The question's telling terms that the answer does not repeat.
    pub unsaid: Vec<Weighed>,
    /// All of the question's telling terms.
    pub asked: Vec<Weighed>,
    /// Numbers and names of the answer: they must stand in the cited words, with what is said of them.
    pub mentions: Vec<Mention>,
    /// Quotations of the answer, three words or longer.
    pub quotations: Vec<String>,
    /// Whether the answer denies something.
    pub negated: bool,
    /// Which terms of `answer` tell something that the question does not bring.
    pub adds: Vec<bool>,
    /// Which terms of `answer` tell what it is about.
    pub tells_answer: Vec<bool>,
    /// The telling terms of answer and question.
    telling: Keys,
    citable: bool,
    says_nothing: bool,
}

impl<'c> Query<'c> {
    /// Takes `claim` apart; what its terms weigh comes from the document.
    pub fn new(claim: &Claim<'c>, index: &SentenceIndex) -> Query<'c> {
        let asked = terms(claim.question);
        let said = terms(claim.sentence);
        let asked_keys: HashSet<u64> = asked
            .iter()
            .flat_map(|term| [term.exact, term.stem])
            .collect();
        let said_keys: HashSet<u64> = said.iter().map(|term| term.exact).collect();
        let weigh = |term: &Term, words: &str| Weighed {
            term: *term,
            weight: weight(term, words, index),
        };
        let answer: Vec<Weighed> = said
            .iter()
            .map(|term| weigh(term, claim.sentence))
            .collect();
        let mut seen = HashSet::new();
        let telling: Vec<Weighed> = asked
            .iter()
            .filter(|term| !is_function_word(term, claim.question) && seen.insert(term.exact))
            .map(|term| weigh(term, claim.question))
            .collect();
        let repeated = |weighed: &&Weighed| said_keys.contains(&weighed.term.exact);
        let unsaid: Vec<Weighed> = telling
            .iter()
            .filter(|weighed| !repeated(weighed))
            .copied()
            .collect();
        let critical: Vec<Option<bool>> = said
            .iter()
            .map(|term| {
                is_critical(term, claim.sentence, index).then(|| asked_keys.contains(&term.exact))
            })
            .collect();
        let tells: Vec<bool> = said
            .iter()
            .map(|term| !is_function_word(term, claim.sentence))
            .collect();
        let repeats =
            |term: &Term| asked_keys.contains(&term.exact) || asked_keys.contains(&term.stem);
        let adds: Vec<bool> = said
            .iter()
            .zip(&tells)
            .map(|(term, tells)| *tells && !repeats(term))
            .collect();
        let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count();
        let (added, share) = match count(&adds) {
            0 => (count(&tells), 1.0),
            added => (added, REPEATED_WEIGHT),
        };
        let sought = answer
            .iter()
            .map(|weighed| Weighed {
                weight: weighed.weight * if repeats(&weighed.term) { share } else { 1.0 },
                ..*weighed
            })
            .collect();
        let mentions = mentions(claim.sentence, &answer, &critical, &tells, &unsaid);
        let telling_terms: Vec<Term> = said
            .iter()
            .zip(&tells)
            .filter(|(_, tells)| **tells)
            .map(|(term, _)| *term)
            .chain(telling.iter().map(|weighed| weighed.term))
            .collect();
        let content = tells.contains(&true);
        // "1915." to "How many were there in 1915?": a choice between numbers has more of them.
        let number = |term: &&Term| term.kind == TermKind::Number;
        let numbers = |terms: &[Term]| terms.iter().filter(number).count();
        let mut told = said.iter().zip(&tells).filter(|(_, tells)| **tells);
        let repeats_a_number = told.all(|(term, _)| number(&term) && repeats(term))
            && numbers(&said) == numbers(&asked);
        let lead_in = claim.sentence.trim_end().ends_with([':', '：']);
        let abstention = abstention(claim.sentence);
        let tells_of_nobody = mentions.iter().all(|mention| mention.asked);
        Query {
            sentence: claim.sentence,
            answer,
            sought,
            added,
            unsaid,
            adds,
            tells_answer: tells,
            telling: Keys::new(&telling_terms),
            asked: telling,
            mentions,
            quotations: quotations(claim.sentence),
            negated: is_negated(claim.sentence),
            citable: content && !lead_in && abstention.is_none() && !repeats_a_number,
            says_nothing: match abstention {
                Some(Abstention::OfTheDocument) => true,
                Some(Abstention::Outright) => tells_of_nobody,
                Some(Abstention::GoesOn) => false,
                None => lead_in && tells_of_nobody,
            },
        }
    }

    /// Whether the sentence claims anything that the document could bear out.
    pub fn is_citable(&self) -> bool {
        self.citable
    }

    /// Whether it says nothing that a document could bear out: only that the document lacks something; or that there is no answer,
    /// or what comes next, without a name or number that the question did not bring.
    pub fn says_nothing(&self) -> bool {
        self.says_nothing
    }

    /// Whether the question is written in a script without spaces, for the most part.
    pub fn is_unspaced(&self) -> bool {
        let pairs = self
            .asked
            .iter()
            .filter(|weighed| weighed.term.kind == TermKind::Pair)
            .count();
        pairs * 2 > self.asked.len()
    }

    /// What a share of terms is multiplied with: in scripts without spaces most pairs of characters straddle two words
    /// and recur nowhere, so that shares are about half of what they are for words.
    pub fn share_factor(&self) -> f32 {
        if self.is_unspaced() { 2.0 } else { 1.0 }
    }

    /// Whether the answer or the question has `term`, or an inflection of it, and it tells something.
    pub fn tells(&self, term: &Term) -> bool {
        self.telling.holds(term)
    }

    /// Which of the answer's terms the sentences hold, in the order of [`Query::sought`]: 0, [`STEM_SHARE`] or 1.
    pub fn held_by(&self, text: &str, index: &SentenceIndex, sentences: &[Candidate]) -> Vec<f32> {
        let words = |c: &Candidate| terms(index.span(c.sentence).of(text).unwrap_or_default());
        let held: Vec<Term> = sentences.iter().flat_map(words).collect();
        let keys = Keys::new(&held);
        self.sought
            .iter()
            .map(|weighed| keys.share(&weighed.term))
            .collect()
    }

    /// Whether a sentence holds a name or number that the answer adds to the question; yes if it adds none.
    pub fn holds_news(&self, text: &str, index: &SentenceIndex, sentence: &Candidate) -> bool {
        let words = index.span(sentence.sentence).of(text).unwrap_or_default();
        let keys = Keys::new(&terms(words));
        let mut news = self
            .mentions
            .iter()
            .filter(|mention| !mention.asked)
            .peekable();
        news.peek().is_none() || news.any(|mention| holds(mention, index, &keys))
    }

    /// Share of `query`'s weight that stands among `held`.
    pub fn share_in(&self, query: &[Weighed], held: &[Term]) -> f32 {
        let keys = Keys::new(held);
        share_held(query, |term| keys.share(term)).unwrap_or(0.0)
    }

    /// Share of the answer's weight that `more` adds to what is `covered`.
    pub fn gain(&self, covered: &[f32], more: &[f32]) -> f32 {
        let total: f32 = self.sought.iter().map(|weighed| weighed.weight).sum();
        let added: f32 = self
            .sought
            .iter()
            .zip(covered.iter().zip(more))
            .map(|(weighed, (covered, more))| weighed.weight * (more - covered).max(0.0))
            .sum();
        if total > 0.0 { added / total } else { 0.0 }
    }
}

/// Share of these terms' weight that is held, where `held` says of each how far it is; nothing if they weigh nothing.
pub(super) fn share_held<'w>(
    terms: impl IntoIterator<Item = &'w Weighed>,
    held: impl Fn(&Term) -> f32,
) -> Option<f32> {
    let (mut total, mut found) = (0.0, 0.0);
    for weighed in terms {
        total += weighed.weight;
        found += weighed.weight * held(&weighed.term);
    }
    (total > 0.0).then(|| found / total)
}

/// Terms to look others up in.
pub(super) struct Keys {
    exact: HashSet<u64>,
    stems: HashSet<u64>,
}

impl Keys {
    pub fn new(held: &[Term]) -> Keys {
        Keys {
            exact: held.iter().map(|term| term.exact).collect(),
            stems: held.iter().map(|term| term.stem).collect(),
        }
    }

    /// 1 where the term itself is held, [`STEM_SHARE`] where only its stem is.
    pub fn share(&self, term: &Term) -> f32 {
        if self.exact.contains(&term.exact) {
            1.0
        } else if self.stems.contains(&term.stem) {
            STEM_SHARE
        } else {
            0.0
        }
    }

    /// Whether a number or name is held; an inflected name ("Tesla's", "Teslas") is.
    pub fn holds(&self, term: &Term) -> bool {
        self.share(term) > 0.0
    }
}

fn weight(term: &Term, words: &str, index: &SentenceIndex) -> f32 {
    let kind = match term.kind {
        TermKind::Number => NUMBER_WEIGHT,
        _ if is_function_word(term, words) => FUNCTION_WEIGHT,
        TermKind::Capitalised if index.is_name(term) => NAME_WEIGHT,
        _ => 1.0,
    };
    kind * index.idf(term)
}

/// Whether this word, in small letters, tells nothing of what a question is about.
pub(crate) fn tells_nothing(word: &str) -> bool {
    FUNCTION_WORDS.contains(&word)
}

pub(super) fn is_function_word(term: &Term, words: &str) -> bool {
    let word = term.span.of(words).unwrap_or_default();
    // the US and the WHO are names
    let initials = word.len() > 1 && word.chars().all(char::is_uppercase);
    term.kind != TermKind::Number && !initials && tells_nothing(&word.to_lowercase())
}

fn is_critical(term: &Term, sentence: &str, index: &SentenceIndex) -> bool {
    match term.kind {
        TermKind::Number => true,
        TermKind::Word | TermKind::Pair => false,
        TermKind::Capitalised if is_function_word(term, sentence) => false,
        // at the start of a sentence any word is capitalised: only one that the document also capitalises is a name
        TermKind::Capitalised
            if sentence[..term.span.start]
                .trim_matches(|c: char| !c.is_alphanumeric())
                .is_empty() =>
        {
            index.is_name(term) && !index.holders(term.exact).is_empty()
        }
        TermKind::Capitalised => index.is_name(term),
    }
}

/// What stands in quotation marks, three words or longer.
fn quotations(sentence: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»'), ('「', '」'), ('„', '“')]
    {
        let mut rest = sentence;
        while let Some(start) = rest.find(open) {
            let inner = &rest[start + open.len_utf8()..];
            let Some(end) = inner.find(close) else {
                break;
            };
            if terms(&inner[..end]).len() >= 3 {
                found.push(inner[..end].to_owned());
            }
            rest = &inner[end + close.len_utf8()..];
        }
    }
    found
}

/// Whether a text denies something, as far as a few words of English and German tell.
pub(super) fn is_negated(text: &str) -> bool {
    let small = text.to_lowercase().replace('’', "'");
    small
        .split(|c: char| !c.is_alphabetic() && c != '\'')
        .any(|word| {
            matches!(
                word,
                "not" | "never" | "cannot" | "neither" | "nor" | "without" | "nicht" | "nie"
            ) || word.ends_with("n't")
                || word.starts_with("kein")
        })
}
