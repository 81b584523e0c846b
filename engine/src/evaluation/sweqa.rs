//! SWE-QA (Peng et al. 2025, arXiv 2509.14635): questions on a codebase, whose answers name files and lines.

use super::EvaluationError;
use super::data;
use super::passages::Gold;
use crate::document::{BlockKind, Document, SectionKind, Span};
use crate::ingest::{Limits, extract_here};
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
}

/// The `requests` library below `code`, taken in as a person's folder is, and the questions of `sweqa/requests.jsonl` with the
/// lines that their answers name.
///
/// # Errors
/// [`EvaluationError::Unreadable`], [`EvaluationError::Malformed`], [`EvaluationError::Ingest`].
pub(super) fn requests(
    folder: &Path,
    code: &Path,
) -> Result<(Document, Vec<Gold>), EvaluationError> {
    let document = extract_here(code, None, &Limits::default(), &mut |_| ())?;
    let files = Files::of(&document);
    let named = Named::new()?;
    let lines: Vec<Line> = data::json_lines(&folder.join("sweqa/requests.jsonl"))?;
    let mut questions = Vec::new();
    for line in lines {
        let places = named.places(&line.answer).into_iter();
        let gold = places.filter_map(|(file, first, last)| files.lines(&file, first, last));
        questions.push((line.question, gold.collect()));
    }
    Ok((document, questions))
}

/// The bytes of each file's lines.
struct Files(BTreeMap<String, BTreeMap<u32, Span>>);

impl Files {
    fn of(document: &Document) -> Files {
        let mut files: BTreeMap<String, BTreeMap<u32, Span>> = BTreeMap::new();
        let sections = document.sections.iter();
        for file in sections.filter(|section| section.kind == SectionKind::File) {
            let lines = files.entry(file.title.clone()).or_default();
            for block in &document.blocks {
                let BlockKind::Preformatted { first_line } = block.kind else {
                    continue;
                };
                if !file.span.contains(block.span) {
                    continue;
                }
                let mut at = block.span.start;
                let text = block.span.of(&document.text).unwrap_or_default();
                for (line, text) in (first_line..).zip(text.split_inclusive('\n')) {
                    lines.insert(line, Span::new(at, at + text.len()));
                    at += text.len();
                }
            }
        }
        Files(files)
    }

    /// From line to line of the one file whose path ends so; `None` if there is none, or several, or it is shorter.
    fn lines(&self, ends: &str, first: u32, last: u32) -> Option<Span> {
        let mut so = self.0.iter().filter(|(path, _)| {
            path.strip_suffix(ends)
                .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        });
        let (_, lines) = so.next().filter(|_| so.next().is_none())?;
        let (_, begin) = lines.range(first..=last).next()?;
        let (_, end) = lines.range(first..=last).next_back()?;
        Some(Span::new(begin.start, end.end))
    }
}

/// How answers name lines: "`src/requests/utils.py` (lines 10-12)", "utils.py:10-12", "line 10".
struct Named(Regex);

impl Named {
    fn new() -> Result<Named, EvaluationError> {
        let file = r"([\w/]*\w+\.py)(?::(\d+)(?:\s*[-–]\s*(\d+))?)?";
        let lines = r"\b[Ll]ines? (\d+)(?:\s*[-–]\s*(\d+))?(?:(?: in| of) `?([\w/]*\w+\.py))?";
        Ok(Named(Regex::new(&format!("{lines}|{file}"))?))
    }

    /// Files and lines of them; lines that are said of no file belong to the one named last.
    fn places(&self, answer: &str) -> Vec<(String, u32, u32)> {
        let mut places = Vec::new();
        let mut last_file: Option<String> = None;
        for found in self.0.captures_iter(answer) {
            let text = |nth: usize| found.get(nth).map(|part| part.as_str());
            let number = |nth: usize| text(nth)?.parse::<u32>().ok();
            let (file, first, last) = match text(4) {
                Some(file) => {
                    last_file = Some(file.to_owned());
                    (Some(file.to_owned()), number(5), number(6))
                }
                None => {
                    let file = text(3).map(str::to_owned).or_else(|| last_file.clone());
                    (file, number(1), number(2))
                }
            };
            if let (Some(file), Some(first)) = (file, first) {
                places.push((file, first, last.unwrap_or(first).max(first)));
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_found_as_answers_name_them() {
        let answer = "`f` (`src/a/utils.py`, lines 3-5) calls `g` (line 9), raised in models.py:12 \
                      and at lines 7–8 in `tests/b.py`.";
        let places = Named::new().unwrap().places(answer);
        let place = |file: &str, first, last| (file.to_owned(), first, last);
        assert_eq!(
            places,
            [
                place("src/a/utils.py", 3, 5),
                place("src/a/utils.py", 9, 9),
                place("models.py", 12, 12),
                place("tests/b.py", 7, 8),
            ]
        );
    }
}
