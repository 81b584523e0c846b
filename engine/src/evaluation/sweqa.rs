//! SWE-QA (Peng et al. 2025, arXiv 2509.14635): questions on a codebase, whose answers name files and lines.

use super::EvaluationError;
use super::passages::Gold;
use super::xquad::{plain_document, push_paragraph};
use crate::document::{Document, DocumentKind, Span};
use regex::Regex;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
}

/// The Python files of the `requests` library below `code`, and the questions of `sweqa/requests.jsonl` whose answers name lines of
/// them.
///
/// # Errors
/// [`EvaluationError::Unreadable`], [`EvaluationError::Malformed`].
pub(super) fn requests(data: &Path, code: &Path) -> Result<(Document, Vec<Gold>), EvaluationError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| EvaluationError::Unreadable {
            path: path.to_owned(),
            source,
        })
    };
    let mut document = Document {
        kind: DocumentKind::Code,
        ..plain_document("requests")
    };
    // Of each file, by its name there, the bytes of its lines.
    let mut files: HashMap<String, Vec<Span>> = HashMap::new();
    for path in python_files(&code.join("src")) {
        let text = read(&path)?;
        let mut lines = Vec::new();
        let mut block: Vec<&str> = Vec::new();
        let mut close = |block: &mut Vec<&str>, lines: &mut Vec<Span>| {
            let mut at = push_paragraph(&mut document, &block.join("\n"));
            for line in block.drain(..) {
                lines.push(Span::new(at, at + line.len()));
                at += line.len() + 1;
            }
        };
        for line in text.lines() {
            block.push(line);
            if line.is_empty() {
                close(&mut block, &mut lines);
            }
        }
        close(&mut block, &mut lines);
        let name = path.strip_prefix(code).unwrap_or(&path);
        files.insert(name.display().to_string(), lines);
    }
    let path = data.join("sweqa/requests.jsonl");
    let named =
        Regex::new(r"(src/[\w/]+\.py)`?[^()\n]{0,40}\(?(?:at )?lines? (\d+)(?:\s*[-–]\s*(\d+))?")?;
    let mut questions = Vec::new();
    for line in read(&path)?.lines() {
        let line: Line =
            serde_json::from_str(line).map_err(|source| EvaluationError::Malformed {
                path: path.clone(),
                source,
            })?;
        let gold = named.captures_iter(&line.answer).filter_map(|found| {
            let lines = files.get(&found[1])?;
            let number = |nth: usize| found.get(nth)?.as_str().parse::<usize>().ok();
            let first = number(2)?;
            let last = number(3).unwrap_or(first);
            let (first, last) = (
                lines.get(first.checked_sub(1)?)?,
                lines.get(last.checked_sub(1)?)?,
            );
            (first.start < last.end).then(|| Span::new(first.start, last.end))
        });
        questions.push((line.question, gold.collect()));
    }
    Ok((document, questions))
}

fn python_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ignore::Walk::new(folder)
        .flatten()
        .map(ignore::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    files.sort();
    files
}
