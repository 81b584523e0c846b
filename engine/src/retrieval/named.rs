//! What a question on code names: functions, classes and files are defined in one place and mentioned in many, and who
//! names one asks for the first.

use super::Ranked;
use crate::document::{Document, DocumentKind, SectionKind, Span};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a passage of something that a question names gains, as a share of what the question's words could score. Of 45
/// questions on a library (`docs/long-context.md`) half as much found less, and twice as much no more.
const NAMED: f64 = 0.1;

/// Characters of a name from which on it is one: `T` and `i` are defined everywhere.
const SHORTEST: usize = 2;

/// `ranked` with the passages raised that belong to functions, classes and the like, or files, whose names stand in the
/// question, best first. A name that is defined in several places counts so many times less.
///
/// Source code only: other documents stay as they are ranked.
pub fn raise_named(
    document: &Document,
    passages: &[Span],
    question: &str,
    ranked: Vec<Ranked>,
) -> Vec<Ranked> {
    if document.kind != DocumentKind::Code {
        return ranked;
    }
    let named = definitions(document, question);
    if named.is_empty() {
        return ranked;
    }
    let mut scores: HashMap<Span, f64> = ranked.iter().map(|r| (r.span, r.score)).collect();
    for spans in named.values() {
        for span in spans {
            let begin = passages.partition_point(|passage| passage.end <= span.start);
            let within = passages[begin..].iter();
            for passage in within.take_while(|passage| passage.start < span.end) {
                *scores.entry(*passage).or_default() += NAMED / spans.len() as f64;
            }
        }
    }
    let mut ranked: Vec<Ranked> = scores
        .into_iter()
        .map(|(span, score)| Ranked { span, score })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.span.cmp(&b.span)));
    ranked
}

/// Where what the question names stands, by its name.
/// In order, since scores that are added up otherwise may differ in their last bit, and with it the rank.
fn definitions<'d>(document: &'d Document, question: &str) -> BTreeMap<&'d str, Vec<Span>> {
    let names: HashSet<&str> = identifiers(question).collect();
    let paths: Vec<&str> = question
        .split(|c: char| c.is_whitespace() || "`'\"()[],;".contains(c))
        .map(|word| word.trim_end_matches(['.', '?', ':', '!']))
        .filter(|word| word.contains('.') || word.contains('/'))
        .collect();
    let mut found: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for section in &document.sections {
        let title = section.title.as_str();
        let mut note = |name| found.entry(name).or_default().push(section.span);
        match section.kind {
            SectionKind::Symbol => {
                // "fn open", "impl Display for Cache", "send()": what kind of thing it is comes first.
                let skipped = usize::from(title.contains(' '));
                let mut of_title: Vec<&str> = identifiers(title).skip(skipped).collect();
                of_title.dedup();
                of_title.retain(|name| names.contains(name));
                of_title.into_iter().for_each(note);
            }
            SectionKind::File => {
                let ends = |path: &&&str| {
                    title
                        .strip_suffix(**path)
                        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
                };
                if paths.iter().any(|path| ends(&path)) {
                    note(title);
                }
            }
            _ => {}
        }
    }
    found
}

/// Names as programs have them.
fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| name.chars().count() >= SHORTEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::document::Section;

    fn code(sections: &[(SectionKind, &str, usize, usize)]) -> Document {
        let section = |&(kind, title, start, end): &(SectionKind, &str, usize, usize)| Section {
            kind,
            title: title.to_owned(),
            depth: 0,
            span: Span::new(start, end),
            item: String::new(),
        };
        Document {
            kind: DocumentKind::Code,
            title: String::new(),
            authors: None,
            text: "x".repeat(100),
            sections: sections.iter().map(section).collect(),
            blocks: Vec::new(),
            pages: Vec::new(),
            notices: Vec::new(),
        }
    }

    #[test]
    fn what_is_defined_comes_before_what_is_mentioned() {
        let document = code(&[
            (SectionKind::File, "src/kv/cache.rs", 0, 40),
            (SectionKind::Symbol, "impl Display for Cache", 0, 10),
            (SectionKind::Symbol, "fn open", 10, 20),
            (SectionKind::Symbol, "fn open", 30, 40),
            (SectionKind::File, "src/other_cache.rs", 40, 100),
            (SectionKind::Symbol, "readFile()", 60, 100),
        ]);
        let passages: Vec<Span> = (0..10).map(|n| Span::new(10 * n, 10 * n + 10)).collect();
        let mentioned = Ranked {
            span: passages[9],
            score: 0.04,
        };
        let best = |question: &str| {
            let ranked = raise_named(&document, &passages, question, vec![mentioned]);
            let of = |r: &Ranked| (r.span.start, (1000.0 * r.score).round() as u32);
            ranked.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(best("What does Cache do?"), [(0, 100), (90, 40)]);
        // Defined twice.
        assert_eq!(
            best("How does `open` work?"),
            [(10, 50), (30, 50), (90, 40)]
        );
        let read = [(90, 140), (60, 100), (70, 100), (80, 100)];
        assert_eq!(best("Where is readFile called?"), read);
        let file = [(0, 100), (10, 100), (20, 100), (30, 100), (90, 40)];
        assert_eq!(best("What is in kv/cache.rs?"), file);
        assert_eq!(best("What is in `cache.rs`?"), file);
        assert_eq!(best("What is a fn, impl or readfile"), [(90, 40)]);
        let mut prose = document.clone();
        prose.kind = DocumentKind::Text;
        let ranked = raise_named(&prose, &passages, "Cache", vec![mentioned]);
        assert_eq!(ranked, [mentioned]);
    }
}
