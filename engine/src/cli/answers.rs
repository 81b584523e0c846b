//! An answer on the terminal: its words as they come, then the evidence for each sentence.

use super::say;
use lectern_engine::lectern::{FAR, NEAREST, place};
use lectern_protocol::{Answer, Citation, Strategy, SupportState};
use std::io::{IsTerminal, stdout};

/// Prints, below the answer's words, each citation with its place and words, and which sentences have none.
pub fn print_evidence(answer: &Answer) {
    let (dim, plain) = match stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => ("\x1b[2m", "\x1b[0m"),
        false => ("", ""),
    };
    let mut number = 0;
    let mut quote = |citation: &Citation| {
        number += 1;
        let place = place(&citation.anchor);
        let quote = one_line(&citation.quote);
        say(&format!(
            "  [{number}] {place}: {dim}\u{201C}{quote}\u{201D}{plain}"
        ));
    };
    for sentence in &answer.sentences {
        sentence.citations.iter().for_each(&mut quote);
        match sentence.state {
            SupportState::Supported | SupportState::NoClaim => {}
            SupportState::Partly => say(&format!(
                "  (?) only partly in the document: {}",
                sentence.text
            )),
            SupportState::Unsupported => {
                say(&format!(
                    "  (!) not found in the document: {}",
                    sentence.text
                ));
            }
        }
    }
    if answer.far {
        say(&format!("  (!) {FAR}"));
    }
    if !answer.nearest.is_empty() {
        say(&format!("  {NEAREST}"));
        answer.nearest.iter().for_each(&mut quote);
    }
    if let Some(words) = &answer.looked_for {
        say(&format!("  {dim}Also looked for: {words}{plain}"));
    }
    let seen = answer.coverage.len();
    match answer.strategy {
        Strategy::WholeDocument => {}
        Strategy::Endpoint => say(&format!(
            "  {dim}Answered by {}, which saw {} of the document.{plain}",
            answer.model,
            match seen {
                1 => "one passage".to_owned(),
                seen => format!("{seen} passages"),
            }
        )),
        Strategy::ReadSegments => {
            let parts = match seen {
                1 => "the part of the document that matches".to_owned(),
                seen => format!("the {seen} parts of the document that match"),
            };
            say(&format!(
                "  {dim}The answer looked at {parts} the question best.{plain}"
            ));
        }
        Strategy::RetrievedPassages => say(&format!(
            "  {dim}The document is longer than the model's window: the answer saw {seen} passages of it.{plain}"
        )),
        Strategy::PartlyRead => say(&format!(
            "  {dim}The document is not read to its end: the answer saw {seen} parts of it. `lectern read` reads the rest.{plain}"
        )),
    }
}

/// `text` without line breaks, of very long quotations only the words at the beginning and at the end.
pub fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    if length <= MOST {
        return line;
    }
    let head: String = line.chars().take(MOST / 2).collect();
    let tail: String = line.chars().skip(length - MOST / 2).collect();
    // Not within a word, where words are separated.
    let head = head.rsplit_once(' ').map_or(&*head, |(whole, _)| whole);
    let tail = tail.split_once(' ').map_or(&*tail, |(_, whole)| whole);
    format!("{head} \u{2026} {tail}")
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn long_quotations_are_cut_between_words() {
        let long = "seven\nwords ".repeat(60);
        let line = one_line(&long);
        assert!(line.chars().count() <= 303, "{line}");
        let known = |word: &str| matches!(word, "seven" | "words" | "\u{2026}");
        assert!(line.split(' ').all(known), "{line}");
        assert_eq!(one_line("two \n words"), "two words");
        let unbroken = one_line(&"\u{4e2d}".repeat(500));
        assert_eq!(unbroken.chars().count(), 303);
    }
}
