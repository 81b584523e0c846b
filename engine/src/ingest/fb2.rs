//! FictionBook 2 to blocks: chapters with their titles, epigraphs, verse, tables; notes after the paragraph that points
//! at them.
//!
//! The file is one part of XML. It is walked through twice: first for the notes, which stand at its end, then for
//! everything else. Pictures are left out, their descriptions stay.

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::html::declared_encoding;
use super::office::Line;
use super::xml::{Tag, Visitor, walk};
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind, MarkKind};
use std::collections::HashMap;
use std::io::{Cursor, Read};

/// In errors.
const FORMAT: &str = "FictionBook";

/// Deepest heading there is.
const DEEPEST: u8 = 6;

/// Extracts an FB2 file, plain or packed alone in a ZIP.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let mut bytes = extraction.read_container()?;
    if bytes.starts_with(b"PK\x03\x04") {
        bytes = unpacked(&bytes, extraction.limits().part_bytes)?;
    }
    let (xml, _) = decode(&bytes, declared_encoding(&bytes))?;
    drop(bytes);
    let mut notes = Notes::default();
    walk(&xml, FORMAT, &mut notes)?;
    extraction.progress(0.4);
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut book = Book::new(&mut builder, notes.found);
    walk(&xml, FORMAT, &mut book)?;
    let title = std::mem::take(&mut book.title);
    let authors = book.authors.join(", ");
    let title = match title.text.trim() {
        "" => builder
            .first_heading()
            .unwrap_or_else(|| extraction.file_title()),
        title => title.to_owned(),
    };
    let sections = builder.sections_from_headings("");
    let authors = (!authors.is_empty()).then_some(authors);
    builder.finish(DocumentKind::Html, title, authors, sections, Vec::new())
}

/// The one book in a ZIP.
fn unpacked(bytes: &[u8], limit: u64) -> Result<Vec<u8>, IngestFault> {
    let damaged = |reason: &dyn std::fmt::Display| IngestFault::Damaged {
        format: FORMAT.into(),
        reason: reason.to_string(),
    };
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
    for index in 0..zip.len() {
        let Ok(part) = zip.by_index(index) else {
            continue;
        };
        let is_book = part
            .name()
            .is_ok_and(|name| name.to_ascii_lowercase().ends_with(".fb2"));
        if !is_book {
            continue;
        }
        let mut book = Vec::new();
        part.take(limit + 1)
            .read_to_end(&mut book)
            .map_err(|e| damaged(&e))?;
        if book.len() as u64 > limit {
            return Err(IngestFault::Bomb { limit });
        }
        return Ok(book);
    }
    Err(damaged(&"it holds no book"))
}

/// Adds words with runs of white space as one blank: line ends of the file mean nothing.
fn push(line: &mut Line, words: &str, marks: &[MarkKind]) {
    let mut blank = line.text.is_empty() || line.text.ends_with([' ', '\t', '\n']);
    let mut plain = String::with_capacity(words.len());
    for c in words.chars() {
        if !c.is_whitespace() {
            plain.push(c);
        } else if !blank {
            plain.push(' ');
        }
        blank = c.is_whitespace();
    }
    line.push(&plain, marks);
}

/// The notes of a book, by the names that links use.
#[derive(Default)]
struct Notes {
    found: HashMap<String, String>,
    /// Whether this is a body of notes.
    inside: bool,
    /// Name and words of the open one.
    open: Option<(String, Line)>,
    in_title: bool,
}

impl Visitor for Notes {
    fn passes_over(&self, name: &str) -> bool {
        matches!(name, "binary" | "description" | "stylesheet")
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        match tag.name {
            "body" => {
                self.inside = tag.attribute("name").is_some_and(|name| {
                    matches!(name.as_str(), "notes" | "comments" | "footnotes")
                });
            }
            "section" if self.inside => {
                self.open = tag.attribute("id").map(|id| (id, Line::default()));
            }
            "title" => self.in_title = true,
            _ => {}
        }
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        // Its title is its number, which the link repeats.
        if let Some((_, line)) = self.open.as_mut().filter(|_| !self.in_title) {
            push(line, words, &[]);
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "title" => self.in_title = false,
            "section" => {
                if let Some((id, line)) = self.open.take() {
                    self.found.insert(id, line.text.trim().to_owned());
                }
            }
            "body" => self.inside = false,
            _ => {}
        }
        Ok(())
    }
}

/// The book on its way to blocks.
struct Book<'b> {
    builder: &'b mut DocumentBuilder,
    notes: HashMap<String, String>,
    title: Line,
    authors: Vec<String>,
    /// Names of the author whose element is open.
    author: Option<Line>,
    /// Open elements.
    path: Vec<String>,
    sections: u8,
    line: Line,
    marks: Vec<MarkKind>,
    /// Notes that the open paragraph points at.
    pointed: Vec<String>,
}

impl<'b> Book<'b> {
    fn new(builder: &'b mut DocumentBuilder, notes: HashMap<String, String>) -> Book<'b> {
        Book {
            builder,
            notes,
            title: Line::default(),
            authors: Vec::new(),
            author: None,
            path: Vec::new(),
            sections: 0,
            line: Line::default(),
            marks: Vec::new(),
            pointed: Vec::new(),
        }
    }

    fn is_in(&self, name: &str) -> bool {
        self.path.iter().any(|open| open == name)
    }

    /// Ends the open line as a block, with the notes it points at behind it.
    fn end_line(&mut self, kind: BlockKind) -> Result<(), IngestFault> {
        let line = std::mem::take(&mut self.line);
        self.builder.block(kind, &line.text, &line.marks)?;
        for id in std::mem::take(&mut self.pointed) {
            if let Some(note) = self.notes.get(&id) {
                self.builder.block(BlockKind::Note, note, &[])?;
            }
        }
        Ok(())
    }

    /// The line goes on in a new one: of a title, of a stanza.
    fn break_line(&mut self, with: &str) {
        if !self.line.is_blank() {
            self.line.push(with, &[]);
        }
    }
}

/// What sets words in something.
fn mark_of(name: &str) -> Option<MarkKind> {
    match name {
        "emphasis" => Some(MarkKind::Emphasis),
        "strong" => Some(MarkKind::Strong),
        "code" => Some(MarkKind::Code),
        _ => None,
    }
}

impl Visitor for Book<'_> {
    fn passes_over(&self, name: &str) -> bool {
        matches!(
            name,
            "binary" | "stylesheet" | "document-info" | "publish-info" | "src-title-info"
        )
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        match tag.name {
            // Notes stand where they are pointed at.
            "body"
                if tag.attribute("name").is_some_and(|name| {
                    matches!(name.as_str(), "notes" | "comments" | "footnotes")
                }) =>
            {
                self.path.push("notes".into());
                return Ok(());
            }
            "section" => self.sections = self.sections.saturating_add(1),
            "author" if self.is_in("title-info") => self.author = Some(Line::default()),
            "a" => {
                let target = tag.attribute("href").unwrap_or_default();
                self.pointed
                    .extend(target.strip_prefix('#').map(str::to_owned));
            }
            "image" => {
                let words = tag.attribute("alt").or_else(|| tag.attribute("title"));
                if let Some(words) = words.filter(|_| self.line.is_blank() && !self.is_in("notes"))
                {
                    let mut caption = Line::default();
                    push(&mut caption, &words, &[]);
                    self.builder.block(BlockKind::Caption, &caption.text, &[])?;
                }
            }
            "td" | "th" if !self.line.text.is_empty() => self.line.push("\t", &[]),
            name => self.marks.extend(mark_of(name)),
        }
        self.path.push(tag.name.to_owned());
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        if self.is_in("notes") {
            return Ok(());
        }
        if self.is_in("title-info") {
            let at = self.path.last().map(String::as_str);
            match (at, &mut self.author) {
                (Some("first-name" | "middle-name" | "last-name"), Some(author)) => {
                    if !author.is_blank() {
                        author.push(" ", &[]);
                    }
                    push(author, words.trim(), &[]);
                }
                (Some("nickname"), Some(author)) if author.is_blank() => push(author, words, &[]),
                (Some("book-title"), _) => push(&mut self.title, words, &[]),
                _ => {}
            }
            return Ok(());
        }
        let holds_words = ["p", "v", "subtitle", "text-author", "td", "th", "date"];
        if holds_words.iter().any(|name| self.is_in(name)) {
            let marks = self.marks.clone();
            push(&mut self.line, words, &marks);
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        let opened = self.path.pop();
        if self.is_in("notes") || opened.as_deref() == Some("notes") {
            return Ok(());
        }
        if mark_of(name).is_some() {
            self.marks.pop();
        }
        match name {
            "section" => self.sections = self.sections.saturating_sub(1),
            "author" => {
                let author = self.author.take().unwrap_or_default();
                if !author.is_blank() {
                    self.authors.push(author.text.trim().to_owned());
                }
            }
            "title" if !self.is_in("stanza") => {
                let level = (self.sections + 1).min(DEEPEST);
                self.end_line(BlockKind::Heading(level))?;
            }
            "p" if self.is_in("title") => self.break_line(" "),
            "p" if self.is_in("td") || self.is_in("th") => self.break_line(" "),
            "p" | "subtitle" | "text-author" | "date"
                if self.is_in("epigraph") || self.is_in("cite") =>
            {
                self.end_line(BlockKind::Quote)?;
            }
            "p" | "subtitle" | "text-author" => self.end_line(BlockKind::Paragraph)?,
            "v" => self.break_line("\n"),
            "stanza" => self.end_line(BlockKind::Preformatted { first_line: 1 })?,
            "tr" => self.end_line(BlockKind::TableRow { header: false })?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Limits, extract_here};
    use super::*;

    const BOOK: &str = r##"<?xml version="1.0" encoding="UTF-8"?>
<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0" xmlns:l="http://www.w3.org/1999/xlink">
 <description><title-info><genre>prose</genre>
  <author><first-name>Anna</first-name><last-name>Holm</last-name></author><author><nickname>Quill</nickname></author>
  <book-title>The  Skerry</book-title><annotation><p>Not the text.</p></annotation></title-info>
  <document-info><author><nickname>scanner</nickname></author></document-info></description>
 <body><title><p>The Skerry</p></title>
  <epigraph><p>Wind and <emphasis>salt</emphasis>.</p><text-author>Old song</text-author></epigraph>
  <section><title><p>Part One</p><p>Spring</p></title>
   <section id="c1"><title><p>1</p></title>
    <p>The keeper
     came<a l:href="#n1" type="note">[1]</a> home.</p>
    <poem><stanza><v>First line,</v><v>second line.</v></stanza></poem>
    <table><tr><th>Year</th><th>Ships</th></tr><tr><td>1901</td><td>7</td></tr></table>
    <image l:href="#pic" alt="A lighthouse"/>
    <p>After.</p></section></section></body>
 <body name="notes"><title><p>Notes</p></title><section id="n1"><title><p>1</p></title><p>In March.</p></section></body>
 <binary id="pic" content-type="image/png">AAAA</binary>
</FictionBook>"##;

    #[test]
    fn a_book_is_read_with_its_notes_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skerry.fb2");
        std::fs::write(&path, BOOK).unwrap();
        let book = extract_here(&path, None, &Limits::default(), &mut |_| ()).unwrap();
        assert_eq!(book.title, "The Skerry");
        assert_eq!(book.authors.as_deref(), Some("Anna Holm, Quill"));
        use BlockKind::*;
        let blocks: Vec<(BlockKind, &str)> = book
            .blocks
            .iter()
            .map(|block| (block.kind, block.span.of(&book.text).unwrap()))
            .collect();
        assert_eq!(
            blocks,
            [
                (Heading(1), "The Skerry"),
                (Quote, "Wind and salt."),
                (Quote, "Old song"),
                (Heading(2), "Part One Spring"),
                (Heading(3), "1"),
                (Paragraph, "The keeper came[1] home."),
                (Note, "In March."),
                (Preformatted { first_line: 1 }, "First line,\nsecond line."),
                (TableRow { header: false }, "Year\tShips"),
                (TableRow { header: false }, "1901\t7"),
                (Caption, "A lighthouse"),
                (Paragraph, "After."),
            ]
        );
        let depths: Vec<(u16, &str)> = book
            .sections
            .iter()
            .map(|s| (s.depth, s.title.as_str()))
            .collect();
        assert_eq!(
            depths,
            [(0, "The Skerry"), (1, "Part One Spring"), (2, "1")]
        );
    }

    #[test]
    fn bad_books_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.fb2");
        for content in [
            &BOOK[..BOOK.len() / 2],
            "<FictionBook><p>x</q>",
            "<FictionBook/>",
        ] {
            std::fs::write(&path, content).unwrap();
            let outcome = extract_here(&path, None, &Limits::default(), &mut |_| ());
            if let Ok(book) = outcome {
                // What is cut off is read as far as it goes.
                assert!(book.text.contains("The Skerry"));
            }
        }
    }
}
