//! Answers that are known to be right or wrong, made of XQuAD's gold answers.
//!
//! Every gold answer is taken for a model's short answer. Then it is replaced by the gold answer of another question on
//! the same document, which stands in the same text and often in the same paragraph: the hardest kind of wrong answer
//! to tell. And it is put into the gold sentence in the right answer's place: a whole sentence of which one name or
//! number is wrong. And two names of that sentence are put in each other's places. And both answers are said in the
//! words of the question, as models do ("What year did Tesla die?", "year did Tesla die was 1943.").

use super::xquad::{Exam, GoldQuestion};
use crate::citing::{Claim, SentenceIndex};
use serde::{Deserialize, Serialize};

/// How far away the question is whose answer is taken for a wrong one: past the same paragraph's, mostly.
const OTHER_QUESTION: usize = 7;

/// What a question begins with.
const QUESTION_WORDS: &[&str] = &[
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "many", "much", "in",
    "on", "is", "was", "were", "are", "did", "does", "do",
];
const CHINESE_QUESTION_WORDS: &[&str] =
    &["什么", "多少", "谁", "哪里", "哪个", "哪一", "哪些", "哪"];

/// How an answer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ClaimKind {
    /// The gold answer.
    Right,
    /// That of another question on the same document.
    Wrong,
    /// The gold sentence as it stands.
    Verbatim,
    /// With another answer of the same kind in the gold one's place.
    Altered,
    /// With two of its names in each other's places.
    Exchanged,
    /// The gold answer in the words of the question.
    RightEcho,
    /// Another answer of the same kind in the words of the question.
    WrongEcho,
}

impl ClaimKind {
    /// In the order that they are declared in.
    pub const ALL: [ClaimKind; 7] = [
        ClaimKind::Right,
        ClaimKind::Wrong,
        ClaimKind::Verbatim,
        ClaimKind::Altered,
        ClaimKind::Exchanged,
        ClaimKind::RightEcho,
        ClaimKind::WrongEcho,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            ClaimKind::Right => "right",
            ClaimKind::Wrong => "wrong",
            ClaimKind::Verbatim => "verbatim",
            ClaimKind::Altered => "altered",
            ClaimKind::Exchanged => "exchanged",
            ClaimKind::RightEcho => "right echo",
            ClaimKind::WrongEcho => "wrong echo",
        }
    }

    /// The kind of true claim that has the form of this one; itself, if it is true.
    pub fn true_kind(self) -> ClaimKind {
        match self {
            ClaimKind::Right | ClaimKind::Wrong => ClaimKind::Right,
            ClaimKind::Verbatim | ClaimKind::Altered | ClaimKind::Exchanged => ClaimKind::Verbatim,
            ClaimKind::RightEcho | ClaimKind::WrongEcho => ClaimKind::RightEcho,
        }
    }

    /// Whether the document bears such claims out.
    pub fn is_true(self) -> bool {
        self == self.true_kind()
    }
}

/// An answer that is known to be right or wrong.
pub(super) struct LabelledClaim<'e> {
    pub kind: ClaimKind,
    pub question: &'e str,
    pub sentence: String,
}

impl LabelledClaim<'_> {
    /// To be cited.
    pub fn claim(&self) -> Claim<'_> {
        Claim {
            sentence: &self.sentence,
            question: self.question,
        }
    }
}

/// The claims made of question `nth`; of some kinds there may be none. `index` is that of the exam's document.
pub(super) fn claims<'e>(
    exam: &'e Exam,
    nth: usize,
    index: &SentenceIndex,
) -> Vec<LabelledClaim<'e>> {
    let text = &exam.document.text;
    let gold = &exam.questions[nth];
    let mut made = Vec::new();
    let mut push = |kind: ClaimKind, sentence: Option<String>| {
        made.extend(sentence.map(|sentence| LabelledClaim {
            kind,
            question: &gold.question,
            sentence,
        }));
    };
    push(ClaimKind::Right, Some(gold.answer.clone()));
    let other = &exam.questions[(nth + OTHER_QUESTION) % exam.questions.len()];
    let wrong = (other.answer != gold.answer).then(|| other.answer.clone());
    push(ClaimKind::Wrong, wrong);
    let span = index.spans().iter().find(|span| span.contains(gold.span));
    let stands = span.and_then(|span| span.of(text));
    push(ClaimKind::Verbatim, stands.map(str::to_owned));
    push(ClaimKind::Altered, altered(exam, nth, index));
    push(ClaimKind::Exchanged, stands.and_then(exchanged));
    let right_echo = echo(&gold.question, &gold.answer);
    push(ClaimKind::RightEcho, Some(right_echo));
    let holder = index
        .spans()
        .iter()
        .find(|span| span.intersection(gold.span).is_some());
    let words = holder.and_then(|span| span.of(text)).unwrap_or_default();
    let other = of_same_kind(exam, nth, words);
    push(
        ClaimKind::WrongEcho,
        other.map(|other| echo(&gold.question, &other.answer)),
    );
    made
}

/// The next answer of the same kind (a number, a name, or neither) that is not said in `words`.
fn of_same_kind<'e>(exam: &'e Exam, nth: usize, words: &str) -> Option<&'e GoldQuestion> {
    let kind = |answer: &str| {
        let number = answer.chars().any(|c| c.is_ascii_digit());
        let name = answer.chars().next().is_some_and(char::is_uppercase);
        (number, name)
    };
    let (count, wanted) = (exam.questions.len(), kind(&exam.questions[nth].answer));
    (1..count)
        .map(|ahead| &exam.questions[(nth + ahead) % count])
        .find(|other| kind(&other.answer) == wanted && !words.contains(&other.answer))
}

/// The sentence that holds the gold answer, with another answer in its place; `None` if there is no other that the
/// sentence does not hold already.
fn altered(exam: &Exam, nth: usize, index: &SentenceIndex) -> Option<String> {
    let gold = &exam.questions[nth];
    let text = &exam.document.text;
    let span = *index.spans().iter().find(|s| s.contains(gold.span))?;
    let other = of_same_kind(exam, nth, span.of(text)?)?;
    let before = text.get(span.start..gold.span.start)?;
    let after = text.get(gold.span.end..span.end)?;
    Some(format!("{before}{}{after}", other.answer))
}

/// A sentence with two of its names in each other's places, if a verb in the past stands between them.
fn exchanged(sentence: &str) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let named = |at: usize| {
        let word = words[at];
        // Any word begins a sentence with a capital.
        at > 0 && word.len() > 3 && word.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let ends = |at: usize| words[at].ends_with([',', '.', ';', ':', ')', '"']);
    let run = |from: usize| {
        let start = (from..words.len()).find(|&at| named(at))?;
        let end = (start + 1..words.len())
            .find(|&at| !named(at) || ends(at - 1))
            .unwrap_or(words.len());
        Some(start..end)
    };
    let mut first = run(0)?;
    loop {
        let second = run(first.end)?;
        let (left, right) = (
            words[first.clone()].join(" "),
            words[second.clone()].join(" "),
        );
        let middle = words[first.end..second.start].join(" ");
        let verb = words[first.end..second.start]
            .iter()
            .any(|word| word.len() > 4 && word.ends_with("ed"));
        let plain = |name: &str| name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        let (bare_left, bare_right) = (plain(&left), plain(&right));
        if verb && bare_left != bare_right {
            let left = left.replace(&bare_left, &bare_right);
            let right = right.replace(&bare_right, &bare_left);
            let before = words[..first.start].join(" ");
            let after = words[second.end..].join(" ");
            return Some(
                format!("{before} {left} {middle} {right} {after}")
                    .trim()
                    .to_owned(),
            );
        }
        first = second;
    }
}

/// An answer said in the words of its question: in place of the question word in Chinese, after the rest in English.
fn echo(question: &str, answer: &str) -> String {
    let question = question.trim().trim_end_matches(['?', '？']);
    if let Some(word) = CHINESE_QUESTION_WORDS
        .iter()
        .find(|word| question.contains(**word))
    {
        return question.replacen(word, answer, 1);
    }
    let mut words = question.split_whitespace().peekable();
    while let Some(word) = words.peek()
        && QUESTION_WORDS.contains(&word.to_lowercase().as_str())
    {
        words.next();
    }
    let rest: Vec<&str> = words.collect();
    format!("{} was {}.", rest.join(" "), answer.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_round_a_verb_change_places() {
        assert_eq!(
            exchanged("In May, Mary Smith accused John Brown of theft.").unwrap(),
            "In May, John Brown accused Mary Smith of theft."
        );
        assert_eq!(exchanged("In May, Mary Smith left."), None);
    }

    #[test]
    fn answers_are_said_in_the_words_of_the_question() {
        assert_eq!(
            echo("What year did Tesla die?", "1943"),
            "year did Tesla die was 1943."
        );
        assert_eq!(echo("特斯拉哪一年去世？", "1943"), "特斯拉1943年去世");
    }

    #[test]
    fn every_kind_knows_its_place_and_its_true_form() {
        for (at, kind) in ClaimKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert!(kind.true_kind().is_true());
        }
    }
}
