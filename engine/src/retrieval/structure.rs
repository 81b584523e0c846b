//! Questions on how a codebase is built, which its map answers and no passage of it matches.

use super::Ranked;
use crate::document::{Document, SectionKind, Span};

/// Words that ask for the whole, or for where in it something is.
const WORDS: [&str; 27] = [
    "architecture",
    "codebase",
    "component",
    "components",
    "crate",
    "crates",
    "declared",
    "defined",
    "definition",
    "directories",
    "directory",
    "file",
    "files",
    "folder",
    "folders",
    "implemented",
    "layout",
    "located",
    "module",
    "modules",
    "organised",
    "organized",
    "overview",
    "package",
    "packages",
    "repository",
    "structure",
];

/// Whether a question asks how a codebase is built. English only: in other languages the map is found by the names
/// it holds, like everything else.
fn asks_for_structure(question: &str) -> bool {
    question
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| WORDS.contains(&word.to_lowercase().as_str()))
}

/// Passages of the map of a codebase, best first, if the question asks for what it shows.
///
/// In the order of the map, which begins with its folders; a passage of it that `ranked` holds comes first.
pub fn map_passages(
    document: &Document,
    question: &str,
    passages: &[Span],
    ranked: &[Ranked],
) -> Vec<Span> {
    let map = document
        .sections
        .iter()
        .rev()
        .find(|section| section.kind == SectionKind::Map);
    let Some(map) = map.filter(|_| asks_for_structure(question)) else {
        return Vec::new();
    };
    let on_map = |span: &Span| map.span.contains(*span);
    let mut found: Vec<Span> = ranked.iter().map(|r| r.span).filter(on_map).collect();
    found.truncate(1);
    for span in passages.iter().copied().filter(on_map) {
        if !found.contains(&span) {
            found.push(span);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DocumentKind, Section};

    #[test]
    fn the_map_is_for_questions_on_structure() {
        let section = |kind, start, end| Section {
            kind,
            title: String::new(),
            depth: 0,
            span: Span::new(start, end),
            item: String::new(),
        };
        let document = Document {
            kind: DocumentKind::Code,
            title: String::new(),
            authors: None,
            text: "x".repeat(100),
            sections: vec![
                section(SectionKind::File, 0, 50),
                section(SectionKind::Map, 50, 100),
            ],
            blocks: Vec::new(),
            pages: Vec::new(),
            notices: Vec::new(),
        };
        let passages = [Span::new(0, 50), Span::new(50, 70), Span::new(70, 100)];
        let ranked = [Ranked {
            span: passages[2],
            score: 1.0,
        }];
        let asked = |question: &str| map_passages(&document, question, &passages, &ranked);
        assert_eq!(
            asked("What are the main Modules?"),
            [passages[2], passages[1]]
        );
        assert!(asked("What does open return?").is_empty());
    }
}
