//! One manual as PDF, EPUB and plain text: the same answer is cited with the same sentence, whatever it was read from.
//!
//! The answers are given, so that extraction, sentences and citing are measured and no model; words alone cite.
#![allow(clippy::unwrap_used)]

mod ingest_support;

use ingest_support::*;
use lectern_engine::citing::{Claim, SentenceIndex, Weights, cite};
use lectern_engine::document::Document;
use lectern_protocol::SupportState;

/// What is asked of the Debian Policy Manual, and a right answer in words that are not all the manual's.
const QUESTIONS: [(&str, &str); 15] = [
    (
        "In which encoding must the changelog be written?",
        "The changelog must be encoded in UTF-8.",
    ),
    (
        "How many spaces separate the maintainer details from the date?",
        "They are separated by exactly two spaces.",
    ),
    (
        "What may the source package not contain?",
        "It must not contain hard links.",
    ),
    (
        "What must every package be accompanied by?",
        "A verbatim copy of its distribution license in /usr/share/doc.",
    ),
    (
        "What kind of file is debian/rules?",
        "It is an executable makefile.",
    ),
    (
        "Must required targets write outside the source tree?",
        "Required targets must not attempt to write outside of the unpacked source package tree.",
    ),
    (
        "What must be done with unknown flags?",
        "Unknown flags must be ignored by debian/rules.",
    ),
    (
        "In which range must the time zone minutes or seconds be?",
        "They must be in the range 00-59.",
    ),
    (
        "Where must packages go that do not comply with the DFSG?",
        "They must be placed in non-free.",
    ),
    (
        "Which field must be present if a team maintains the package?",
        "The Uploaders control field must be present.",
    ),
    (
        "How may a package divert files of another?",
        "With the --package flag to dpkg-divert.",
    ),
    (
        "In which format must a binary package be provided?",
        "It must be provided in the .deb file format.",
    ),
    (
        "What may the part of the version after the epoch not be?",
        "It must not be reused.",
    ),
    (
        "May the license discriminate against persons?",
        "The license must not discriminate against any person or group of persons.",
    ),
    (
        "How must the gain root command be reachable?",
        "It must be available via PATH.",
    ),
];

/// Letters and digits only: what a sentence says, however it was set.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The first citation of an answer, if it has one.
fn first_cited(
    document: &Document,
    index: &SentenceIndex,
    question: &str,
    answer: &str,
) -> Option<String> {
    let claim = Claim {
        sentence: answer,
        question,
    };
    let verdict = cite(&claim, &document.text, index, None, &Weights::default());
    assert_eq!(
        verdict.citations.is_empty(),
        verdict.state == SupportState::Unsupported
    );
    let cited = verdict.citations.first()?;
    cited.span.of(&document.text).map(letters)
}

#[test]
fn one_manual_in_three_formats_is_cited_with_the_same_sentences() {
    let Some(data) = data() else { return };
    let folder = data.join("formats/debian-policy");
    let manuals = ["policy.txt", "policy.epub", "policy.pdf"].map(|name| {
        let document = ingest(&folder.join(name)).unwrap();
        let index = SentenceIndex::new(&document);
        (document, index)
    });
    let mut same = 0;
    for (question, answer) in QUESTIONS {
        let cited = manuals
            .each_ref()
            .map(|(document, index)| first_cited(document, index, question, answer));
        // Plain text has no headings and sets footnote marks in brackets: a number, a mark or a short heading may stand
        // before or behind the sentence, but the sentence itself is the same.
        let shortest = cited.iter().flatten().min_by_key(|words| words.len());
        let holds = |words: &Option<String>| {
            words
                .as_ref()
                .zip(shortest)
                .is_some_and(|(w, s)| w.contains(s))
        };
        if cited.iter().all(holds) {
            same += 1;
        } else {
            let [text, epub, pdf] = &cited;
            println!("{question} {answer}\n  text {text:?}\n  epub {epub:?}\n  pdf  {pdf:?}");
        }
    }
    println!(
        "{same} of {} answers are cited with the same sentence",
        QUESTIONS.len()
    );
    assert!(same >= 13, "{same}");
}
