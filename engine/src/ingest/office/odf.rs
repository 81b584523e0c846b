//! OpenDocument texts and presentations: `content.xml`.

use super::super::archive::Archive;
use super::super::builder::DocumentBuilder;
use super::super::xml::{Tag, Visitor, walk};
use super::super::{Extraction, IngestFault};
use super::flow::{Flow, Line};
use super::properties::properties;
use crate::document::{BlockKind, Document, DocumentKind, MarkKind};
use std::collections::{HashMap, HashSet};

/// What the file is called in errors.
const FORMAT: &str = "OpenDocument";

/// Columns that a cell or row may stand for; tables are padded to their sheet's width with repeated empty cells.
const MOST_REPEATED: usize = 64;

/// Extracts an ODT file.
pub(in crate::ingest) fn extract_text(
    extraction: &mut Extraction,
) -> Result<Document, IngestFault> {
    extract(extraction, DocumentKind::Word)
}

/// Extracts an ODP file.
pub(in crate::ingest) fn extract_slides(
    extraction: &mut Extraction,
) -> Result<Document, IngestFault> {
    extract(extraction, DocumentKind::Slides)
}

fn extract(extraction: &mut Extraction, kind: DocumentKind) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let mut archive = Archive::open(&bytes, FORMAT, extraction.limits().part_bytes)?;
    let manifest = archive.text("META-INF/manifest.xml")?.unwrap_or_default();
    if manifest.contains("encryption-data") {
        return Err(IngestFault::Locked {
            format: FORMAT.into(),
        });
    }
    let mut styles = Styles::default();
    for part in ["styles.xml", "content.xml"] {
        if let Some(xml) = archive.text(part)? {
            walk(&xml, FORMAT, &mut styles)?;
        }
    }
    extraction.progress(0.3);
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut body = Body::new(Flow::new(&mut builder), &styles);
    walk(&archive.needed("content.xml")?, FORMAT, &mut body)?;
    body.flow.finish()?;
    extraction.progress(0.9);
    let properties = properties(&mut archive, "meta.xml");
    let title = properties
        .title
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(kind, title, properties.author, sections, Vec::new())
}

/// What styles say: marks of characters, which paragraphs are titles, which lists are numbered.
#[derive(Default)]
struct Styles {
    marks: HashMap<String, Vec<MarkKind>>,
    /// Styles of automatic paragraphs by name, and what each is based on.
    parents: HashMap<String, String>,
    /// Levels of list styles that are numbered, from 1.
    numbered: HashSet<(String, usize)>,
    style: String,
    list: String,
}

impl Styles {
    /// What a paragraph of that style is.
    fn kind(&self, style: &str) -> BlockKind {
        let mut name = style;
        for _ in 0..8 {
            match name {
                "Title" => return BlockKind::Heading(1),
                "Quotations" => return BlockKind::Quote,
                "Preformatted_20_Text" => return BlockKind::Preformatted { first_line: 1 },
                "Caption" | "Illustration" | "Table" | "Figure" => return BlockKind::Caption,
                _ => {}
            }
            match self.parents.get(name) {
                Some(parent) => name = parent,
                None => break,
            }
        }
        BlockKind::Paragraph
    }
}

impl Visitor for Styles {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        let name = || tag.attribute("name").unwrap_or_default();
        match tag.name {
            "style" => {
                self.style = name();
                if let Some(parent) = tag.attribute("parent-style-name") {
                    self.parents.insert(self.style.clone(), parent);
                }
            }
            "text-properties" => {
                let is = |attribute, value| tag.attribute(attribute).is_some_and(|v| v == value);
                let strong = is("font-weight", "bold").then_some(MarkKind::Strong);
                let emphasis = is("font-style", "italic").then_some(MarkKind::Emphasis);
                let marks = strong.into_iter().chain(emphasis);
                self.marks
                    .entry(self.style.clone())
                    .or_default()
                    .extend(marks);
            }
            "list-style" => self.list = name(),
            "list-level-style-number" => {
                let format = tag.attribute("num-format").unwrap_or_default();
                if let Some(level) = tag.number("level").filter(|_| !format.is_empty()) {
                    self.numbered.insert((self.list.clone(), level));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        if name == "style" {
            self.style.clear();
        }
        Ok(())
    }
}

/// A list that is open.
struct List {
    style: String,
    next: u32,
    /// The item that has begun has no paragraph yet.
    fresh: bool,
}

/// A paragraph while it is read.
struct Paragraph {
    kind: BlockKind,
    line: Line,
}

struct Body<'s, 'b> {
    flow: Flow<'b>,
    styles: &'s Styles,
    /// Whether the body has begun, and is not over.
    inside: bool,
    /// Open paragraphs, outermost first: a text box or a note stands inside one.
    open: Vec<Paragraph>,
    /// Blocks that wait for the end of the outermost paragraph.
    after: Vec<(BlockKind, Line)>,
    spans: Vec<Vec<MarkKind>>,
    lists: Vec<List>,
    /// Notes that are open: their paragraphs are theirs.
    notes: usize,
    /// Words of a picture's title or description.
    caption: Option<String>,
    repeated: usize,
    header: bool,
    slides: usize,
    /// A slide's title shape is open.
    titled: bool,
}

impl<'s, 'b> Body<'s, 'b> {
    fn new(flow: Flow<'b>, styles: &'s Styles) -> Body<'s, 'b> {
        Body {
            flow,
            styles,
            inside: false,
            open: Vec::new(),
            after: Vec::new(),
            spans: Vec::new(),
            lists: Vec::new(),
            notes: 0,
            caption: None,
            repeated: 1,
            header: false,
            slides: 0,
            titled: false,
        }
    }

    fn push(&mut self, words: &str) {
        let marks: Vec<MarkKind> = self.spans.iter().flatten().copied().collect();
        if let Some(paragraph) = self.open.last_mut() {
            paragraph.line.push(words, &marks);
        }
    }

    /// The kind of a `text:p` that begins here.
    fn paragraph_kind(&mut self, tag: &Tag) -> BlockKind {
        if self.notes > 0 {
            return BlockKind::Note;
        }
        if self.titled {
            return BlockKind::Heading(2);
        }
        let style = tag.attribute("style-name").unwrap_or_default();
        let kind = self.styles.kind(&style);
        let depth = self.lists.len();
        let styled = self.lists.iter().rev().find(|list| !list.style.is_empty());
        let styled = styled.map(|list| (list.style.clone(), depth));
        if let Some(list) = self.lists.last_mut()
            && kind == BlockKind::Paragraph
            && std::mem::take(&mut list.fresh)
        {
            let number = list.next;
            list.next += 1;
            let numbered = styled.is_some_and(|key| self.styles.numbered.contains(&key));
            return BlockKind::ListItem {
                depth: (depth - 1).min(usize::from(u8::MAX)) as u8,
                number: numbered.then_some(number),
            };
        }
        kind
    }

    fn end_paragraph(&mut self) -> Result<(), IngestFault> {
        let Some(Paragraph { kind, mut line }) = self.open.pop() else {
            return Ok(());
        };
        if matches!(kind, BlockKind::Heading(_)) {
            line.text = line.text.replace(['\n', '\t'], " ");
        }
        if !self.open.is_empty() {
            self.after.push((kind, line));
            return Ok(());
        }
        self.flow.block(kind, line)?;
        for (kind, line) in std::mem::take(&mut self.after) {
            match kind {
                BlockKind::Note => self.flow.note(line)?,
                kind => self.flow.block(kind, line)?,
            }
        }
        Ok(())
    }
}

/// Elements of which nothing is read: deleted text, what repeats on every page, marks of notes, tables of contents and
/// indexes.
fn is_passed_over(name: &str) -> bool {
    matches!(
        name,
        "tracked-changes"
            | "table-of-content"
            | "alphabetical-index"
            | "illustration-index"
            | "note-citation"
            | "forms"
            | "date-time"
            | "footer"
            | "page-number"
    )
}

impl Visitor for Body<'_, '_> {
    fn passes_over(&self, name: &str) -> bool {
        is_passed_over(name)
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        if tag.name == "body" {
            self.inside = true;
        }
        if !self.inside {
            return Ok(());
        }
        match tag.name {
            "h" => {
                let level = tag.number("outline-level").unwrap_or(1u8).clamp(1, 6);
                self.open.push(Paragraph {
                    kind: BlockKind::Heading(level),
                    line: Line::default(),
                });
            }
            "p" => {
                let kind = self.paragraph_kind(tag);
                self.open.push(Paragraph {
                    kind,
                    line: Line::default(),
                });
            }
            "span" => {
                let style = tag.attribute("style-name").unwrap_or_default();
                let marks = self.styles.marks.get(&style).cloned();
                self.spans.push(marks.unwrap_or_default());
            }
            "s" => {
                let blanks = tag.number("c").unwrap_or(1usize).min(256);
                self.push(&" ".repeat(blanks));
            }
            "tab" => self.push("\t"),
            "line-break" => self.push("\n"),
            "list" => self.lists.push(List {
                style: tag.attribute("style-name").unwrap_or_default(),
                next: tag.number("start-value").unwrap_or(1),
                fresh: false,
            }),
            "list-item" => {
                if let Some(list) = self.lists.last_mut() {
                    list.fresh = true;
                    list.next = tag.number("start-value").unwrap_or(list.next);
                }
            }
            "note" | "annotation" | "notes" => self.notes += 1,
            "title" | "desc" => self.caption = Some(String::new()),
            "table-header-rows" => self.header = true,
            "table-row" => {
                self.flow.open_row();
                if self.header {
                    self.flow.header_row();
                }
            }
            "table-cell" | "covered-table-cell" => {
                self.flow.open_cell();
                self.repeated = tag.number("number-columns-repeated").unwrap_or(1);
            }
            "frame" => self.titled = tag.attribute("class").is_some_and(|class| class == "title"),
            // A slide; a drawing in a text has no pages.
            "page" => {
                self.slides += 1;
                let words = format!("Slide {}", self.slides);
                self.flow
                    .block(BlockKind::Heading(1), Line::plain(&words))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        if let Some(caption) = &mut self.caption {
            caption.push_str(words);
            return Ok(());
        }
        // White space that only lays out the XML, outside of preformatted text, where `text:s` stands for blanks.
        let mut rest = words;
        while let Some(at) = rest.find(|c: char| c.is_ascii_whitespace()) {
            self.push(&rest[..at]);
            let stands =
                |p: &Paragraph| !p.line.text.is_empty() && !p.line.text.ends_with([' ', '\n']);
            if self.open.last().is_some_and(stands) {
                self.push(" ");
            }
            rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        }
        self.push(rest);
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "body" => self.inside = false,
            "h" | "p" => self.end_paragraph()?,
            "span" => {
                self.spans.pop();
            }
            "list" => {
                self.lists.pop();
            }
            "note" | "annotation" | "notes" => self.notes = self.notes.saturating_sub(1),
            "title" | "desc" => {
                let words = self.caption.take().unwrap_or_default();
                match self.open.is_empty() {
                    true => self.flow.block(BlockKind::Caption, Line::plain(&words))?,
                    false => self.after.push((BlockKind::Caption, Line::plain(&words))),
                }
            }
            "table-header-rows" => self.header = false,
            "table-cell" | "covered-table-cell" => {
                for _ in 1..std::mem::replace(&mut self.repeated, 1).min(MOST_REPEATED) {
                    self.flow.open_cell();
                }
            }
            "table-row" => self.flow.close_row()?,
            "frame" => self.titled = false,
            _ => {}
        }
        Ok(())
    }
}
