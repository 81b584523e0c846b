//! Who does what to whom, as far as the order of words tells: "Tesla founded Edison's company" is not borne out by "Edison
//! founded Tesla's company", though all its words stand there.
//!
//! Two names with a verb between them are compared with the same names round the same verb in a cited sentence. They
//! are exchanged if they stand there the other way round, or if one of the two says it in the passive ("was founded by"); not
//! if both: then the sense is the same. It is a rule for English, whose verbs show by their endings and whose passive shows
//! by its "by"; where it finds no such verb it says nothing.

use super::mention::Mention;
use super::query::{Query, Weighed};
use super::terms::{Term, TermKind, terms};

/// Pasts that do not end in "ed", as far as they take an object and somebody does them.
const IRREGULAR: &[&str] = &[
    "beat",
    "bought",
    "brought",
    "built",
    "caught",
    "chose",
    "chosen",
    "cut",
    "drew",
    "drove",
    "fought",
    "found",
    "gave",
    "given",
    "held",
    "hit",
    "killed",
    "led",
    "lent",
    "lost",
    "made",
    "met",
    "overthrew",
    "paid",
    "sent",
    "shot",
    "sold",
    "sued",
    "taught",
    "threw",
    "told",
    "took",
    "taken",
    "won",
    "wrote",
    "written",
];

/// Whether two names of the answer are exchanged in a cited sentence, and in none of them stand as the answer has them.
pub(super) fn is_exchanged(query: &Query, cited: &[&str]) -> bool {
    let sentence = query.sentence;
    let names: Vec<&Mention> = query
        .mentions
        .iter()
        .filter(|mention| {
            mention
                .terms
                .iter()
                .all(|term| term.kind == TermKind::Capitalised)
        })
        .collect();
    names.windows(2).any(|pair| {
        let (left, right) = (pair[0], pair[1]);
        let said = between(&query.answer, left, right);
        said.iter().any(|&at| {
            let verb = query.answer[at].term;
            if !is_verb(verb.span.of(sentence).unwrap_or_default()) {
                return false;
            }
            let next = query.answer.get(at + 1).map(|weighed| weighed.term);
            let passive = next.is_some_and(|next| names_doer(&next, sentence));
            all_that_tell(cited, |words| {
                same_way(words, left, &verb, right, passive).map(|same| !same)
            })
        })
    })
}

/// Whether every sentence of which `found` says something says yes, and one does.
pub(super) fn all_that_tell(cited: &[&str], found: impl Fn(&str) -> Option<bool>) -> bool {
    let mut told = cited.iter().filter_map(|words| found(words)).peekable();
    told.peek().is_some() && told.all(|yes| yes)
}

/// Places in the answer that stand between two mentions.
fn between(answer: &[Weighed], left: &Mention, right: &Mention) -> Vec<usize> {
    let (Some(from), Some(to)) = (left.terms.last(), right.terms.first()) else {
        return Vec::new();
    };
    (0..answer.len())
        .filter(|&at| {
            let span = answer[at].term.span;
            from.span.end <= span.start && span.end <= to.span.start
        })
        .collect()
}

/// Whether `words` tell the same of the two names as the answer does; nothing if they do not hold the verb between them.
fn same_way(
    words: &str,
    left: &Mention,
    verb: &Term,
    right: &Mention,
    passive: bool,
) -> Option<bool> {
    let held = terms(words);
    let name = |mention: &Mention, part: &[Term]| {
        let last = mention.terms.last().map(|term| term.exact);
        part.iter().any(|term| Some(term.exact) == last)
    };
    let at = held.iter().position(|term| {
        term.stem == verb.stem && is_verb(term.span.of(words).unwrap_or_default())
    })?;
    let (before, after) = (&held[..at], &held[at + 1..]);
    let order = match (
        name(left, before) && name(right, after),
        name(right, before) && name(left, after),
    ) {
        (true, false) => true,
        (false, true) => false,
        // Both, or neither: the order tells nothing.
        _ => return None,
    };
    let by = after.first().is_some_and(|next| names_doer(next, words));
    Some(order == (by == passive))
}

fn is_verb(word: &str) -> bool {
    let small = word.to_lowercase();
    small.len() > 4 && small.ends_with("ed") || IRREGULAR.contains(&small.as_str())
}

/// Whether a word says that the one who does it follows.
fn names_doer(term: &Term, words: &str) -> bool {
    term.span
        .of(words)
        .is_some_and(|word| word.eq_ignore_ascii_case("by"))
}
