//! Source code to blocks: a folder, an archive of one, or a single file. Sections are files; blocks are runs of at most 100 lines.
//!
//! Each file begins with a heading block that holds its path, so that the model reads where it is. The lines follow
//! unchanged (control characters become blanks, so columns hold), also between two blocks of the same file.

mod archive;
mod names;
mod walk;

pub(super) use archive::extract_archive;
pub(super) use names::is_source_name;
pub(super) use walk::walk;

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::extraction::read_file;
use super::format::is_container;
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind, Section, SectionKind, Span};
use names::{is_generated, is_minified};
use std::ops::Range;
use std::path::Path;
use walk::LeftOut;

/// Most lines of a block.
const RUN: usize = 100;
/// Fewest lines of a block that is not the last: from here on a blank line is a good place to end it.
const SHORT_RUN: usize = 60;

/// Extracts a folder.
pub(super) fn extract_folder(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let walked = walk(extraction.path(), extraction.limits())?;
    let mut collection = Collection::new(extraction.limits().text_bytes, walked.left_out);
    let count = walked.files.len().max(1);
    for (index, file) in walked.files.iter().enumerate() {
        extraction.progress(index as f32 / count as f32);
        match read_file(&file.path, extraction.limits().source_bytes) {
            Ok(bytes) => collection.take(&file.relative, &file.path, &bytes)?,
            Err(IngestFault::Empty) => {}
            Err(IngestFault::Vanished) => collection.left_out.vanished += 1,
            Err(_) => collection.left_out.unreadable += 1,
        }
    }
    let name = extraction
        .path()
        .file_name()
        .unwrap_or(extraction.path().as_os_str());
    collection.finish(name.to_string_lossy().into_owned(), "folder")
}

/// Files of a folder or archive on their way into one document.
struct Collection {
    builder: DocumentBuilder,
    sections: Vec<Section>,
    left_out: LeftOut,
}

impl Collection {
    fn new(limit: u64, left_out: LeftOut) -> Collection {
        Collection {
            builder: DocumentBuilder::new(limit),
            sections: Vec::new(),
            left_out,
        }
    }

    /// Appends a file if it is text that somebody wrote, else counts it as left out.
    fn take(&mut self, relative: &str, path: &Path, bytes: &[u8]) -> Result<(), IngestFault> {
        let text = match decode(bytes, None) {
            Ok((text, _)) if !is_container(path, bytes) => text,
            _ => {
                self.left_out.binary += 1;
                return Ok(());
            }
        };
        if is_minified(&text) {
            self.left_out.minified += 1;
        } else if is_generated(&text) {
            self.left_out.generated += 1;
        } else {
            append_file(&mut self.builder, &mut self.sections, relative, &text)?;
        }
        Ok(())
    }

    /// The document; `whole` is what the files came in: "folder".
    fn finish(self, title: String, whole: &str) -> Result<Document, IngestFault> {
        let left_out = self.left_out.in_words();
        if self.sections.is_empty() {
            return Err(IngestFault::NoTextFiles { left_out });
        }
        let notices = match left_out.is_empty() {
            true => Vec::new(),
            false => vec![format!("Left out of the {whole}: {left_out}.")],
        };
        self.builder
            .finish(DocumentKind::Code, title, None, self.sections, notices)
    }
}

/// Extracts a single source file.
pub(super) fn extract_file(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let (text, _) = decode(&extraction.read_plain()?, None)?;
    extraction.progress(0.5);
    let name = extraction
        .path()
        .file_name()
        .unwrap_or(extraction.path().as_os_str());
    let name = name.to_string_lossy().into_owned();
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut sections = Vec::new();
    append_file(&mut builder, &mut sections, &name, &text)?;
    builder.finish(DocumentKind::Code, name, None, sections, Vec::new())
}

/// Appends a file: its path as a heading, its lines in runs, and its section. A file of white space is left out.
fn append_file(
    builder: &mut DocumentBuilder,
    sections: &mut Vec<Section>,
    path: &str,
    text: &str,
) -> Result<(), IngestFault> {
    let text: String = text
        .chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                ' '
            } else {
                c
            }
        })
        .collect();
    let path: String = path.chars().filter(|c| !c.is_control()).collect();
    let runs = runs(&text);
    if runs.is_empty() {
        return Ok(());
    }
    let start = builder.next_start();
    builder.block(BlockKind::Heading(1), &path, &[])?;
    let mut end = None;
    for run in runs {
        let kind = BlockKind::Preformatted {
            first_line: run.first_line,
        };
        let body = &text[run.bytes.clone()];
        match end {
            None => builder.block(kind, body, &[])?,
            Some(end) => builder.continue_lines(&text[end..run.bytes.start], kind, body)?,
        }
        end = Some(run.bytes.end);
    }
    if let Some(last) = sections.last_mut() {
        last.span.end = start;
    }
    sections.push(Section {
        kind: SectionKind::File,
        title: path.trim().to_owned(),
        depth: 0,
        span: Span::new(start, usize::MAX), // brought back to the end of the text by `finish`
        item: String::new(),
    });
    Ok(())
}

/// Lines of a file that make a block.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    first_line: u32,
    /// From the beginning of its first line that is not blank to the end of its last word.
    bytes: Range<usize>,
}

/// Cuts a file into runs: where a blank line precedes an unindented one, else at any blank line, else after [`RUN`]
/// lines.
fn runs(text: &str) -> Vec<Run> {
    let mut starts = vec![0];
    starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
    starts.retain(|&start| start < text.len());
    let line =
        |index: usize| &text[starts[index]..starts.get(index + 1).copied().unwrap_or(text.len())];
    let blank = |index: usize| line(index).trim().is_empty();
    let mut runs = Vec::new();
    let mut first = 0;
    while first < starts.len() {
        if blank(first) {
            first += 1;
            continue;
        }
        let most = (first + RUN).min(starts.len());
        let cut = if most == starts.len() {
            most
        } else {
            let candidates = || {
                (first + SHORT_RUN..most)
                    .rev()
                    .filter(|&index| blank(index))
            };
            candidates()
                .find(|&index| !blank(index + 1) && !line(index + 1).starts_with([' ', '\t']))
                .or_else(|| candidates().next())
                .unwrap_or(most)
        };
        let until = starts.get(cut).copied().unwrap_or(text.len());
        let end = starts[first] + text[starts[first]..until].trim_end().len();
        runs.push(Run {
            first_line: first as u32 + 1,
            bytes: starts[first]..end,
        });
        first = cut;
    }
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_end_at_blank_lines_and_keep_line_numbers() {
        assert_eq!(runs(""), []);
        assert_eq!(runs("\n\n"), []);
        assert_eq!(
            runs("\n\n  a\nb \n\n"),
            [Run {
                first_line: 3,
                bytes: 2..7
            }]
        );
        let text: String = (1..=250)
            .map(|n| {
                if n == 81 || n == 90 {
                    "\n".into()
                } else if n == 91 {
                    "    indented\n".into()
                } else {
                    format!("line {n}\n")
                }
            })
            .collect();
        let found = runs(&text);
        let firsts: Vec<u32> = found.iter().map(|r| r.first_line).collect();
        assert_eq!(firsts, [1, 82, 182]);
        assert!(text[found[1].bytes.clone()].starts_with("line 82\n"));
        assert!(text[found[2].bytes.clone()].ends_with("line 250"));
    }
}
