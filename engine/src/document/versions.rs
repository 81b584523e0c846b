//! Where words of an earlier version of a document stand in a later one.
//!
//! In: both versions and a span of the earlier one. Out: the span of the later one that holds the very same words, or
//! nothing. Words that stand there several times are told apart by what stands around them; where that does not
//! settle it, by their section and then by how far they moved. A link to wrong words would be worse than none, so a
//! few letters that are found elsewhere are not taken for the ones that were cited.

use super::{Document, SectionKind, Span};

/// Bytes on either side that are compared.
const CONTEXT: usize = 200;
/// Bytes around the words that must be the same if nothing else speaks for a place.
const ENOUGH_CONTEXT: usize = 40;
/// Words of so many bytes that stand in the later version once are the same words.
const TELLING: usize = 20;
/// Places that are compared at most; words that stand there more often are no evidence of anything.
const MOST_PLACES: usize = 1000;

/// Two versions of a document.
pub struct Versions<'d> {
    earlier: &'d Document,
    later: &'d Document,
    /// Bytes that are the same at the beginning and at the end; together no more than the shorter text.
    same_start: usize,
    same_end: usize,
}

impl<'d> Versions<'d> {
    /// Compares the texts from both ends.
    pub fn new(earlier: &'d Document, later: &'d Document) -> Versions<'d> {
        let (old, new) = (earlier.text.as_str(), later.text.as_str());
        let mut same_start = common_start(old.as_bytes(), new.as_bytes());
        while !old.is_char_boundary(same_start) {
            same_start -= 1;
        }
        let mut same_end = common_end(&old.as_bytes()[same_start..], &new.as_bytes()[same_start..]);
        while !old.is_char_boundary(old.len() - same_end) {
            same_end -= 1;
        }
        Versions {
            earlier,
            later,
            same_start,
            same_end,
        }
    }

    /// The later version.
    pub fn later(&self) -> &'d Document {
        self.later
    }

    /// Bytes of text that are the same from the beginning.
    pub fn same_start(&self) -> usize {
        self.same_start
    }

    /// Where the words of `span` stand in the later version.
    pub fn find(&self, span: Span) -> Option<Span> {
        let words = span.of(&self.earlier.text)?;
        if words.trim().is_empty() {
            return None;
        }
        if let Some(unmoved) = self.shift(span) {
            return Some(unmoved);
        }
        let places = self.places(words, Some(span))?;
        let section = self.section_of(self.earlier, span);
        let expected = self.expected(span);
        // (same section, bytes of context, negated distance)
        let scored = places.iter().map(|&start| {
            let here = Span::new(start, start + words.len());
            let near = section.is_some() && self.section_of(self.later, here) == section;
            let context = self.context(span, here);
            (
                (near, context, std::cmp::Reverse(start.abs_diff(expected))),
                here,
            )
        });
        let ((near, context, _), best) = scored.max_by_key(|(score, _)| *score)?;
        let alone_near = near
            && places
                .iter()
                .filter(|&&start| {
                    self.section_of(self.later, Span::new(start, start + words.len())) == section
                })
                .count()
                == 1;
        let alone = places.len() == 1 && words.len() >= TELLING;
        (alone || alone_near || context >= ENOUGH_CONTEXT).then_some(best)
    }

    /// Where words stand in the later version whose earlier place is not known; only if there is no doubt.
    pub fn find_words(&self, words: &str) -> Option<Span> {
        let places = self.places(words, None)?;
        (places.len() == 1 && words.len() >= TELLING)
            .then(|| Span::new(places[0], places[0] + words.len()))
    }

    /// What of a span lies in the parts that are the same from the beginning or to the end; in the later version.
    pub fn unchanged_parts(&self, span: Span) -> Vec<Span> {
        let (old, new) = (self.earlier.text.len(), self.later.text.len());
        if span.start == 0 && span.end >= old {
            return vec![Span::new(0, new)];
        }
        let head = span.intersection(Span::new(0, self.same_start));
        let tail = span
            .intersection(Span::new(old - self.same_end, old))
            .and_then(|part| self.shift(part));
        head.into_iter().chain(tail).collect()
    }

    /// The span's place if it lies in a part that is the same from the beginning, or to the end.
    fn shift(&self, span: Span) -> Option<Span> {
        let (old, new) = (self.earlier.text.len(), self.later.text.len());
        if span.end <= self.same_start {
            return Some(span);
        }
        (span.start >= old - self.same_end)
            .then(|| Span::new(new - (old - span.start), new - (old - span.end)))
    }

    /// Where the words begin in the later version, as whole words if they were; `None` if nowhere or too often.
    fn places(&self, words: &str, span: Option<Span>) -> Option<Vec<usize>> {
        let text = self.later.text.as_str();
        let joined = |before: Option<char>, after: Option<char>| matches!((before, after), (Some(b), Some(a)) if b.is_alphanumeric() && a.is_alphanumeric());
        let cuts = |text: &str, span: Span| {
            let inside = &text[span.start..span.end];
            (
                joined(
                    text[..span.start].chars().next_back(),
                    inside.chars().next(),
                ),
                joined(inside.chars().next_back(), text[span.end..].chars().next()),
            )
        };
        let cut_before = span.map(|span| cuts(&self.earlier.text, span));
        let places: Vec<usize> = text
            .match_indices(words)
            .map(|(start, _)| start)
            .filter(|&start| {
                let here = cuts(text, Span::new(start, start + words.len()));
                here == (false, false) || Some(here) == cut_before
            })
            .take(MOST_PLACES + 1)
            .collect();
        (!places.is_empty() && places.len() <= MOST_PLACES).then_some(places)
    }

    /// Bytes that are the same right before and right behind, [`CONTEXT`] each at most.
    fn context(&self, earlier: Span, later: Span) -> usize {
        let before = |text: &'d str, end: usize| &text.as_bytes()[end.saturating_sub(CONTEXT)..end];
        let after = |text: &'d str, start: usize| {
            &text.as_bytes()[start..(start + CONTEXT).min(text.len())]
        };
        let (old, new) = (self.earlier.text.as_str(), self.later.text.as_str());
        common_end(before(old, earlier.start), before(new, later.start))
            + common_start(after(old, earlier.end), after(new, later.end))
    }

    /// What a place is called: the file of a codebase, else the innermost heading.
    fn section_of<'s>(&self, document: &'s Document, span: Span) -> Option<&'s str> {
        document
            .sections_at(span.start)
            .find(|section| section.kind != SectionKind::Symbol)
            .map(|section| section.title.as_str())
    }

    /// Where a span would be if what changed had been stretched evenly.
    fn expected(&self, span: Span) -> usize {
        let changed = |text: &str| (text.len() - self.same_start - self.same_end) as f64;
        let share = (span.start.saturating_sub(self.same_start)) as f64
            / changed(&self.earlier.text).max(1.0);
        self.same_start + (share.min(1.0) * changed(&self.later.text)) as usize
    }
}

fn common_start(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn common_end(a: &[u8], b: &[u8]) -> usize {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{DocumentKind, Section};
    use super::*;

    fn document(files: &[(&str, &str)]) -> Document {
        let mut text = String::new();
        let mut sections = Vec::new();
        for (path, lines) in files {
            let start = text.len();
            text.push_str(&format!("{path}\n\n{lines}\n\n"));
            sections.push(Section {
                kind: SectionKind::File,
                title: (*path).to_owned(),
                depth: 0,
                span: Span::new(start, text.len()),
                item: String::new(),
            });
        }
        Document {
            kind: DocumentKind::Code,
            title: String::new(),
            authors: None,
            text,
            sections,
            blocks: Vec::new(),
            pages: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// What became of the words, as the file and the line they are found in.
    fn found(earlier: &Document, later: &Document, words: &str) -> Option<(String, usize)> {
        let start = earlier.text.find(words).unwrap();
        let span = Versions::new(earlier, later).find(Span::new(start, start + words.len()))?;
        assert_eq!(span.of(&later.text), Some(words));
        let file = later.section_at(span.start).unwrap();
        let within = &later.text[file.span.start..span.start];
        Some((file.title.clone(), within.matches('\n').count() - 1))
    }

    #[test]
    fn words_are_found_where_they_moved_and_not_where_others_stand() {
        let earlier = document(&[
            ("a.rs", "fn a() {}\nlet x = 1;\nreturn done;"),
            ("b.rs", "fn b() {}\nlet x = 1;\nreturn other;"),
            ("c.rs", "the last file is not changed"),
        ]);
        let later = document(&[
            ("a.rs", "// new\n\nfn a() {}\nlet x = 1;\nreturn done;"),
            ("b.rs", "let max = 10;\nreturn other;"),
            ("c.rs", "the last file is not changed"),
        ]);
        let at = |words: &str| found(&earlier, &later, words);
        assert_eq!(at("let x = 1;"), Some(("a.rs".into(), 4)));
        assert_eq!(at("return other;"), Some(("b.rs".into(), 2)));
        assert_eq!(at("fn b() {}"), None);
        assert_eq!(at("the last file"), Some(("c.rs".into(), 1)));
        // The second of two lines that are the same is gone; the one that stays is not taken for it.
        let second = earlier.text.rfind("let x = 1;").unwrap();
        let span = Span::new(second, second + 10);
        assert_eq!(Versions::new(&earlier, &later).find(span), None);
    }

    #[test]
    fn a_file_that_moved_takes_its_words_along_if_there_are_enough_of_them() {
        let earlier = document(&[("a.rs", "one"), ("b.rs", "x\nlet answer = compute(42);\ny")]);
        let later = document(&[
            ("a.rs", "two"),
            ("moved.rs", "z\nlet answer = compute(42);\nw"),
        ]);
        assert_eq!(
            found(&earlier, &later, "let answer = compute(42);"),
            Some(("moved.rs".into(), 2))
        );
        assert_eq!(found(&earlier, &later, "compute"), None);
        let versions = Versions::new(&earlier, &later);
        assert!(versions.find_words("let answer = compute(42);").is_some());
        assert!(versions.find_words("compute").is_none());
        assert!(
            versions
                .find_words("not there at all, in none of them")
                .is_none()
        );
    }

    #[test]
    fn parts_of_words_are_not_words() {
        let earlier = document(&[("a.txt", "ten men came here\nand stayed")]);
        let later = document(&[("a.txt", "often menace\nand they stayed")]);
        assert_eq!(found(&earlier, &later, "ten men"), None);
    }

    #[test]
    fn what_an_answer_saw_is_followed_where_nothing_changed() {
        let earlier = document(&[("a", "ünchanged"), ("b", "old"), ("c", "same")]);
        let later = document(&[("a", "ünchanged"), ("b", "newer"), ("c", "same")]);
        let versions = Versions::new(&earlier, &later);
        let (old, new) = (earlier.text.len(), later.text.len());
        assert_eq!(
            versions.unchanged_parts(Span::new(0, old)),
            [Span::new(0, new)]
        );
        let parts = versions.unchanged_parts(Span::new(1, old));
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].start, parts[1].end), (1, new));
        assert!(versions.same_start() > "a\n\nünchanged".len());
        assert_eq!(versions.later().text, later.text);
    }
}
