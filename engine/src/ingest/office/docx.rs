//! DOCX: the body of `word/document.xml`, with the notes and comments that it refers to.

use super::super::archive::Archive;
use super::super::builder::DocumentBuilder;
use super::super::xml::{Tag, Visitor, walk};
use super::super::{Extraction, IngestFault};
use super::flow::{Flow, Line};
use super::numbering::{Numbered, Numbering};
use super::properties::properties;
use super::relations::relations;
use super::styles::{Rank, Styles, is_on};
use crate::document::{BlockKind, Document, DocumentKind, MarkKind};
use std::collections::HashMap;

/// What the file is called in errors.
const FORMAT: &str = "Word";

/// Extracts a DOCX file.
pub(in crate::ingest) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let mut archive = Archive::open(&bytes, FORMAT, extraction.limits().part_bytes)?;
    let package = relations(&mut archive, "")?;
    let body = package.values().find(|r| r.kind == "officeDocument");
    let body = body.map_or("word/document.xml", |relation| &relation.part);
    let parts = relations(&mut archive, body)?;
    let mut part = |kind: &str| -> Result<Option<String>, IngestFault> {
        match parts.values().find(|relation| relation.kind == kind) {
            Some(relation) => archive.text(&relation.part),
            None => Ok(None),
        }
    };
    let styles = part("styles")?.map(|xml| Styles::read(&xml, FORMAT));
    let styles = styles.transpose()?.unwrap_or_default();
    let numbering = part("numbering")?.map(|xml| Numbering::read(&xml, FORMAT));
    let mut notes = HashMap::new();
    for kind in ["footnotes", "endnotes", "comments"] {
        if let Some(xml) = part(kind)? {
            let mut reader = Notes::default();
            walk(&xml, FORMAT, &mut reader)?;
            notes.extend(reader.found);
        }
    }
    extraction.progress(0.3);

    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut reader = Body {
        flow: Flow::new(&mut builder),
        styles: &styles,
        numbering: numbering.transpose()?.unwrap_or_default(),
        notes: &notes,
        open: Vec::new(),
        run: Run::default(),
        sign: None,
    };
    walk(&archive.needed(body)?, FORMAT, &mut reader)?;
    reader.flow.finish()?;
    extraction.progress(0.9);

    let properties = properties(&mut archive, "docProps/core.xml");
    let title = properties
        .title
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(
        DocumentKind::Word,
        title,
        properties.author,
        sections,
        Vec::new(),
    )
}

/// Elements of which nothing is read: deleted text, what properties were before a change, codes of fields, and the
/// second form of what a writer gives in two.
fn is_passed_over(name: &str) -> bool {
    matches!(
        name,
        "del"
            | "moveFrom"
            | "Fallback"
            | "instrText"
            | "delInstrText"
            | "pPrChange"
            | "rPrChange"
            | "tblPrChange"
            | "trPrChange"
            | "tcPrChange"
            | "sectPr"
    )
}

/// A paragraph while its runs are read.
#[derive(Default)]
struct Paragraph {
    line: Line,
    style: Option<String>,
    numbered: Numbered,
    /// Its own outline level, 0 outermost.
    outline: Option<u8>,
    captions: Vec<String>,
    notes: Vec<Line>,
    /// Paragraphs of text boxes that hang on it.
    boxes: Vec<(BlockKind, Line)>,
}

/// What a run is set in.
#[derive(Default)]
struct Run {
    open: bool,
    words: bool,
    hidden: bool,
    marks: Vec<MarkKind>,
}

struct Body<'r, 'b> {
    flow: Flow<'b>,
    styles: &'r Styles,
    numbering: Numbering,
    notes: &'r HashMap<(&'static str, String), Line>,
    /// Open paragraphs, outermost first: a text box stands inside a run.
    open: Vec<Paragraph>,
    run: Run,
    /// What joins the next words of a formula, which is set in one line, to those before.
    sign: Option<&'static str>,
}

impl Body<'_, '_> {
    fn push(&mut self, words: &str) {
        if let Some(paragraph) = self.open.last_mut()
            && !self.run.hidden
        {
            paragraph.line.push(words, &self.run.marks);
        }
    }

    /// A blank, if letters stand directly before.
    fn part_from_letters(&mut self) {
        let line = self.open.last().map(|paragraph| &paragraph.line.text);
        if line.is_some_and(|words| words.ends_with(char::is_alphanumeric)) {
            self.push(" ");
        }
    }

    fn set(&mut self, kind: MarkKind, on: bool) {
        self.run.marks.retain(|other| *other != kind);
        if on {
            self.run.marks.push(kind);
        }
    }

    fn note(&mut self, kind: &'static str, tag: &Tag) {
        let id = tag.attribute("id").unwrap_or_default();
        if let (Some(note), Some(paragraph)) = (self.notes.get(&(kind, id)), self.open.last_mut()) {
            paragraph.notes.push(note.clone());
        }
    }

    /// Properties of the paragraph and its runs.
    fn property(&mut self, tag: &Tag) {
        let Some(paragraph) = self.open.last_mut() else {
            return;
        };
        match tag.name {
            "pStyle" => paragraph.style = tag.attribute("val"),
            "numId" => paragraph.numbered.list = tag.attribute("val"),
            "ilvl" => paragraph.numbered.level = tag.number("val"),
            "outlineLvl" => paragraph.outline = tag.number("val"),
            "rStyle" if self.run.open => {
                let style = tag.attribute("val").unwrap_or_default();
                for kind in self.styles.marks(&style).collect::<Vec<_>>() {
                    self.set(kind, true);
                }
            }
            "b" if self.run.open => self.set(MarkKind::Strong, is_on(tag)),
            "i" if self.run.open => self.set(MarkKind::Emphasis, is_on(tag)),
            "vanish" if self.run.open => self.run.hidden = is_on(tag),
            _ => {}
        }
    }

    fn end_paragraph(&mut self) -> Result<(), IngestFault> {
        let Some(mut paragraph) = self.open.pop() else {
            return Ok(());
        };
        let style = paragraph.style.as_deref().unwrap_or_default();
        let own = paragraph.outline.filter(|level| *level < 9);
        let own = own.map(|level| Rank::Heading((level + 1).min(6)));
        let rank = own.or_else(|| self.styles.rank(style));
        let numbered = paragraph.numbered.or(&self.styles.numbered(style));
        // An empty paragraph of a list is not numbered, in Word either.
        let place = match paragraph.line.is_blank() {
            true => None,
            false => self.numbering.count(&numbered),
        };
        let kind = match (rank, &place) {
            (Some(Rank::Contents), _) => return Ok(()),
            (Some(Rank::Heading(level)), _) => {
                // The number of a heading is printed with it, and people ask for "section 3.2".
                if let Some(place) = place.filter(|place| !place.label.is_empty()) {
                    let mut numbered = Line::plain(&format!("{} ", place.label));
                    let shift = numbered.text.len();
                    numbered.text.push_str(&paragraph.line.text);
                    let marks = paragraph.line.marks.into_iter();
                    numbered
                        .marks
                        .extend(marks.map(|(kind, r)| (kind, r.start + shift..r.end + shift)));
                    paragraph.line = numbered;
                }
                BlockKind::Heading(level)
            }
            (_, Some(place)) => BlockKind::ListItem {
                depth: place.level as u8,
                number: place.number,
            },
            (Some(Rank::Quote), None) => BlockKind::Quote,
            (Some(Rank::Caption), None) => BlockKind::Caption,
            (Some(Rank::Code), None) => BlockKind::Preformatted { first_line: 1 },
            (None, None) => BlockKind::Paragraph,
        };
        let captions = paragraph.captions.iter();
        let after = captions
            .map(|words| (BlockKind::Caption, Line::plain(words)))
            .chain(paragraph.boxes);
        if let Some(outer) = self.open.last_mut() {
            outer.boxes.push((kind, paragraph.line));
            outer.boxes.extend(after);
            outer.notes.extend(paragraph.notes);
            return Ok(());
        }
        self.flow.block(kind, paragraph.line)?;
        for (kind, line) in after {
            self.flow.block(kind, line)?;
        }
        for note in paragraph.notes {
            self.flow.note(note)?;
        }
        Ok(())
    }
}

impl Visitor for Body<'_, '_> {
    fn passes_over(&self, name: &str) -> bool {
        is_passed_over(name)
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        match tag.name {
            "p" => {
                self.open.push(Paragraph::default());
                self.run = Run::default();
            }
            "r" => {
                self.run = Run {
                    open: true,
                    ..Run::default()
                };
            }
            "t" => self.run.words = true,
            "tab" if self.run.open => self.push("\t"),
            "br" | "cr" if self.run.open => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            "footnoteReference" => self.note("footnote", tag),
            "endnoteReference" => self.note("endnote", tag),
            "commentReference" => self.note("comment", tag),
            "docPr" => {
                if let (Some(words), Some(paragraph)) =
                    (tag.attribute("descr"), self.open.last_mut())
                {
                    paragraph.captions.push(words);
                }
            }
            "tr" => self.flow.open_row(),
            "tblHeader" if is_on(tag) => self.flow.header_row(),
            "tc" => self.flow.open_cell(),
            // formulas, in one line
            "oMath" => self.part_from_letters(),
            "sup" => self.sign = Some("^"),
            "sub" => self.sign = Some("_"),
            "den" => self.sign = Some("/"),
            _ => self.property(tag),
        }
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        if self.run.words {
            if let Some(sign) = self.sign.take() {
                self.push(sign);
            }
            self.push(words);
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "p" => {
                self.end_paragraph()?;
                self.run = Run::default();
            }
            "r" => self.run = Run::default(),
            "t" => self.run.words = false,
            "fName" => self.sign = Some(" "),
            "sup" | "sub" | "den" | "func" => self.sign = None,
            "tr" => self.flow.close_row()?,
            _ => {}
        }
        Ok(())
    }
}

/// Footnotes, endnotes and comments by kind and id, each as one line.
#[derive(Default)]
struct Notes {
    found: HashMap<(&'static str, String), Line>,
    open: Option<(&'static str, String)>,
    line: Line,
    words: bool,
}

impl Visitor for Notes {
    fn passes_over(&self, name: &str) -> bool {
        is_passed_over(name)
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        match tag.name {
            "footnote" | "endnote" | "comment" => {
                let kind = match tag.name {
                    "footnote" => "footnote",
                    "endnote" => "endnote",
                    _ => "comment",
                };
                self.open = Some((kind, tag.attribute("id").unwrap_or_default()));
                self.line = Line::default();
                if kind == "comment"
                    && let Some(author) = tag.attribute("author").filter(|a| !a.is_empty())
                {
                    self.line.push(&format!("{author}: "), &[]);
                }
            }
            "p" if !self.line.is_blank() && !self.line.text.ends_with(' ') => {
                self.line.push(" ", &[]);
            }
            "t" => self.words = true,
            "tab" | "br" => self.line.push(" ", &[]),
            _ => {}
        }
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        if self.words {
            self.line.push(words, &[]);
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "t" => self.words = false,
            "footnote" | "endnote" | "comment" => {
                if let Some(id) = self.open.take() {
                    self.found.insert(id, std::mem::take(&mut self.line));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
