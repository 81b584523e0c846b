//! Source code to blocks: a folder, an archive of one, or a single file. Sections are files, and within them the
//! functions, classes and the like (`symbols`); blocks are runs of at most 100 lines that begin where symbols do.
//!
//! Each file begins with a heading block that holds its path, so that the model reads where it is. The lines follow
//! unchanged (control characters become blanks, so columns hold), also between two blocks of the same file. A folder
//! or archive ends with its map (`map`).

mod archive;
mod left_out;
mod map;
mod names;
mod runs;
mod symbols;
mod walk;

pub(super) use archive::extract_archive;
pub(super) use names::is_source_name;
pub(super) use walk::walk;

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::extraction::read_file;
use super::format::is_container;
use super::{Extraction, IngestFault, Limits};
use crate::document::{BlockKind, Document, DocumentKind, Section, SectionKind, Span};
use left_out::{LeftOut, Reason};
use map::MappedFile;
use names::{is_generated, is_minified};
use runs::runs;
use std::path::Path;
use std::time::{Duration, Instant};
use symbols::Parsed;

/// Time for the symbols of one file: a thousand lines take some milliseconds.
const FILE_TIME: Duration = Duration::from_secs(2);

/// Extracts a folder.
pub(super) fn extract_folder(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let walked = walk(extraction.path(), extraction.limits())?;
    let mut collection = Collection::new(extraction.limits(), walked.left_out);
    let count = walked.files.len().max(1);
    for (index, file) in walked.files.iter().enumerate() {
        extraction.progress(index as f32 / count as f32);
        match read_file(&file.path, extraction.limits().source_bytes) {
            Ok(bytes) => collection.take(&file.relative, &file.path, &bytes)?,
            Err(IngestFault::Empty) => {}
            Err(fault) => collection.left_out.note(
                match fault {
                    IngestFault::Vanished => Reason::Vanished,
                    _ => Reason::Unreadable,
                },
                &file.relative,
            ),
        }
    }
    let name = extraction
        .path()
        .file_name()
        .unwrap_or(extraction.path().as_os_str());
    collection.finish(name.to_string_lossy().into_owned(), "folder")
}

/// Files on their way into one document.
struct Collection {
    builder: DocumentBuilder,
    sections: Vec<Section>,
    /// Index of the last file's section, which is open.
    file: Option<usize>,
    mapped: Vec<MappedFile>,
    left_out: LeftOut,
    /// What is left to look for symbols.
    symbol_time: Duration,
    /// Files whose symbols took too long to look for.
    unparsed: usize,
}

impl Collection {
    fn new(limits: &Limits, left_out: LeftOut) -> Collection {
        Collection {
            builder: DocumentBuilder::new(limits.text_bytes),
            sections: Vec::new(),
            file: None,
            mapped: Vec::new(),
            left_out,
            symbol_time: limits.symbol_time,
            unparsed: 0,
        }
    }

    /// Appends a file if it is text that somebody wrote, else notes it as left out.
    fn take(&mut self, relative: &str, path: &Path, bytes: &[u8]) -> Result<(), IngestFault> {
        let text = match decode(bytes, None) {
            Ok((text, _)) if !is_container(path, bytes) => text,
            _ => {
                self.left_out.note(Reason::Binary, relative);
                return Ok(());
            }
        };
        if is_minified(&text) {
            self.left_out.note(Reason::Minified, relative);
        } else if is_generated(&text) {
            self.left_out.note(Reason::Generated, relative);
        } else {
            self.append(relative, &text)?;
        }
        Ok(())
    }

    /// Appends a file: its path as a heading, its lines in runs, and its sections. A file of white space is left out.
    fn append(&mut self, path: &str, text: &str) -> Result<(), IngestFault> {
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
        let symbols = self.symbols(&path, &text);
        let runs = runs(&text, &symbols);
        let Some(first) = runs.first().map(|run| run.bytes.start) else {
            return Ok(());
        };
        let start = self.builder.next_start();
        self.close_file(start);
        self.builder.block(BlockKind::Heading(1), &path, &[])?;
        let lines = self.builder.next_start();
        let mut end = None;
        for run in runs {
            let kind = BlockKind::Preformatted {
                first_line: run.first_line,
            };
            let body = &text[run.bytes.clone()];
            match end {
                None => self.builder.block(kind, body, &[])?,
                Some(end) => {
                    self.builder
                        .continue_lines(&text[end..run.bytes.start], kind, body)?;
                }
            }
            end = Some(run.bytes.end);
        }
        self.mapped.push(MappedFile::new(&path, &text, &symbols));
        self.file = Some(self.sections.len());
        self.sections.push(Section {
            kind: SectionKind::File,
            title: path.trim().to_owned(),
            depth: 0,
            span: Span::new(start, usize::MAX), // brought back to the end of the text by `finish`
            item: String::new(),
        });
        // The lines stand in the text as they stand in the file, so their bytes are moved together.
        self.sections
            .extend(symbols.into_iter().map(|symbol| Section {
                kind: SectionKind::Symbol,
                title: symbol.title,
                depth: symbol.depth + 1,
                span: Span::new(
                    symbol.bytes.start - first + lines,
                    symbol.bytes.end - first + lines,
                ),
                item: String::new(),
            }));
        Ok(())
    }

    /// Ends the section of the last file.
    fn close_file(&mut self, end: usize) {
        if let Some(file) = self.file {
            self.sections[file].span.end = end;
        }
    }

    fn symbols(&mut self, path: &str, text: &str) -> Vec<symbols::Symbol> {
        if self.symbol_time.is_zero() {
            return Vec::new();
        }
        let began = Instant::now();
        let parsed = symbols::symbols(path, text, began + self.symbol_time.min(FILE_TIME));
        self.symbol_time = self.symbol_time.saturating_sub(began.elapsed());
        match parsed {
            Parsed::Symbols(symbols) => symbols,
            Parsed::TimedOut => {
                self.unparsed += 1;
                Vec::new()
            }
        }
    }

    /// Appends the map of what was taken, if there is enough for one; `whole` is what the files came in: "folder".
    fn append_map(&mut self, whole: &str) -> Result<(), IngestFault> {
        let lines = map::lines(&self.mapped, self.builder.text().len());
        if lines.is_empty() {
            return Ok(());
        }
        let start = self.builder.next_start();
        self.close_file(start);
        let title = format!("Map of the {whole}");
        self.builder.block(BlockKind::Heading(1), &title, &[])?;
        for line in &lines {
            let item = BlockKind::ListItem {
                depth: 0,
                number: None,
            };
            self.builder.block(item, line, &[])?;
        }
        self.sections.push(Section {
            kind: SectionKind::Map,
            title,
            depth: 0,
            span: Span::new(start, usize::MAX),
            item: String::new(),
        });
        Ok(())
    }

    /// The document; `whole` is what the files came in: "folder".
    fn finish(mut self, title: String, whole: &str) -> Result<Document, IngestFault> {
        let left_out = self.left_out.in_words();
        if self.sections.is_empty() {
            return Err(IngestFault::NoTextFiles { left_out });
        }
        self.append_map(whole)?;
        let mut notices = Vec::new();
        if !left_out.is_empty() {
            notices.push(format!("Left out of the {whole}: {left_out}."));
        }
        notices.extend(self.without_symbols());
        self.builder
            .finish(DocumentKind::Code, title, None, self.sections, notices)
    }

    fn without_symbols(&self) -> Option<String> {
        match self.unparsed {
            0 => None,
            1 => Some(
                "The functions of one file are not listed: looking for them took too long."
                    .to_owned(),
            ),
            n => Some(format!(
                "The functions of {n} files are not listed: looking for them took too long."
            )),
        }
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
    let mut collection = Collection::new(extraction.limits(), LeftOut::default());
    collection.append(&name, &text)?;
    let notices = collection.without_symbols().into_iter().collect();
    collection
        .builder
        .finish(DocumentKind::Code, name, None, collection.sections, notices)
}
