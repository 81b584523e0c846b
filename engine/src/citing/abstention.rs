//! Sentences by which a model says that the document has no answer.

/// How a sentence says that the document has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abstention {
    /// It says what the document lacks and nothing else, whatever it calls that: "The text does not mention Skarn."
    OfTheDocument,
    /// It opens like one that has no answer: "Sorry, that is not known.", but also "The answer is not Ada.".
    Outright,
    /// It opens so, and goes on to claim something: "The text does not say, but it was Ada.".
    GoesOn,
}

/// Openings by which a model says that the document lacks something, in small letters.
const OF_THE_DOCUMENT: &[&str] = &[
    "the document does not",
    "the document doesn't",
    "the text does not",
    "the text doesn't",
    "the passage does not",
    "the provided document does not",
    "the provided text does not",
    "the given text does not",
    "not mentioned in the",
    "there is no information",
    "there is no mention",
    "no information",
    "文档没有",
    "文档中没有",
    "文中没有",
    "文件没有",
    "未提及",
];

/// Other openings by which it says that it has no answer.
const OUTRIGHT: &[&str] = &[
    "the answer is not",
    "i cannot",
    "i can't",
    "i do not know",
    "i don't know",
    "i'm sorry",
    "sorry,",
];

/// By which a sentence that began with the lack of an answer goes on to give one.
const GOING_ON: &[&str] = &[
    ";",
    " but ",
    " because ",
    "though ",
    "however",
    "instead",
    "only that",
    "except",
    "但",
    "；",
    "而是",
];

/// Behind which there may be a second clause, which may claim something.
const CLAUSES: &[char] = &[',', ':', '(', '–', '—', '，', '：', '（'];

/// Whether and how a sentence says that the document has no answer, as its first words tell.
pub(super) fn abstention(sentence: &str) -> Option<Abstention> {
    let small = sentence.trim().to_lowercase().replace('’', "'");
    let opens = |openings: &[&str]| openings.iter().any(|opening| small.starts_with(opening));
    let of_the_document = opens(OF_THE_DOCUMENT);
    if !of_the_document && !opens(OUTRIGHT) {
        return None;
    }
    Some(if GOING_ON.iter().any(|word| small.contains(word)) {
        Abstention::GoesOn
    } else if of_the_document && !small.contains(CLAUSES) {
        Abstention::OfTheDocument
    } else {
        Abstention::Outright
    })
}

/// Whether a sentence says that the document has no answer.
pub fn is_abstention(sentence: &str) -> bool {
    abstention(sentence).is_some()
}
