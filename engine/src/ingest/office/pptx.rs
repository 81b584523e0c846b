//! PPTX: the slides in their order, each a section with its title, its words, its tables and its notes.

use super::super::archive::{Archive, damaged};
use super::super::builder::DocumentBuilder;
use super::super::xml::{Tag, Visitor, walk};
use super::super::{Extraction, IngestFault};
use super::flow::{Flow, Line};
use super::properties::properties;
use super::relations::relations;
use crate::document::{BlockKind, Document, DocumentKind, MarkKind};

/// What the file is called in errors.
const FORMAT: &str = "PowerPoint";

/// Extracts a PPTX file.
pub(in crate::ingest) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let mut archive = Archive::open(&bytes, FORMAT, extraction.limits().part_bytes)?;
    let package = relations(&mut archive, "")?;
    let main = package.values().find(|r| r.kind == "officeDocument");
    let main = main.map_or("ppt/presentation.xml", |relation| &relation.part);
    let mut order = Order::default();
    walk(&archive.needed(main)?, FORMAT, &mut order)?;
    let parts = relations(&mut archive, main)?;

    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut lost = 0;
    let count = order.slides.len().max(1);
    for (nth, id) in order.slides.iter().enumerate() {
        extraction.progress(0.05 + 0.9 * nth as f32 / count as f32);
        let slide = parts.get(id).map(|relation| relation.part.as_str());
        match slide {
            Some(part) if archive.holds(part) => {
                append_slide(&mut archive, part, nth + 1, &mut builder)?;
            }
            _ => lost += 1,
        }
    }
    if builder.blocks().is_empty() && lost > 0 {
        return Err(damaged(FORMAT, &"none of its slides can be found"));
    }
    let notices = match lost {
        0 => Vec::new(),
        1 => vec!["One slide is missing from the file.".into()],
        n => vec![format!("{n} slides are missing from the file.")],
    };
    let properties = properties(&mut archive, "docProps/core.xml");
    let title = properties
        .title
        .filter(|title| title != "PowerPoint Presentation") // what PowerPoint writes when nobody gave one
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let sections = builder.sections_from_headings("");
    builder.finish(
        DocumentKind::Slides,
        title,
        properties.author,
        sections,
        notices,
    )
}

fn append_slide(
    archive: &mut Archive,
    part: &str,
    number: usize,
    builder: &mut DocumentBuilder,
) -> Result<(), IngestFault> {
    let mut slide = Slide::default();
    walk(&archive.needed(part)?, FORMAT, &mut slide)?;
    let mut title = std::mem::take(&mut slide.title);
    if title.is_blank() {
        title = Line::plain(&format!("Slide {number}"));
    }
    let mut flow = Flow::new(builder);
    title.text = title.text.replace(['\n', '\t'], " ");
    flow.block(BlockKind::Heading(1), title)?;
    for piece in slide.pieces {
        match piece {
            Piece::Block(kind, line) => flow.block(kind, line)?,
            Piece::Row => flow.open_row(),
            Piece::Cell => flow.open_cell(),
            Piece::RowEnd => flow.close_row()?,
        }
    }
    let related = relations(archive, part)?;
    let notes = related.values().find(|r| r.kind == "notesSlide");
    if let Some(xml) = notes.map(|r| archive.text(&r.part)).transpose()?.flatten() {
        let mut said = Slide::default();
        walk(&xml, FORMAT, &mut said)?;
        for piece in said.pieces {
            if let Piece::Block(_, line) = piece {
                flow.note(line)?;
            }
        }
    }
    flow.finish()
}

/// Ids of the slides, in order.
#[derive(Default)]
struct Order {
    slides: Vec<String>,
}

impl Visitor for Order {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        // It has an `id` of its own and an `r:id`, which is the relation; both are called `id` without their prefix.
        if tag.name == "sldId" {
            self.slides.extend(tag.prefixed_attribute("id"));
        }
        Ok(())
    }
}

enum Piece {
    Block(BlockKind, Line),
    Row,
    Cell,
    RowEnd,
}

/// What a shape is for.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A text box.
    #[default]
    Free,
    Title,
    /// A body of points.
    Body,
    /// Page number, date, footer, picture of the slide on a notes page: on every slide the same.
    Repeated,
}

/// The words of a slide or of its notes page, in the order of its shapes.
#[derive(Default)]
struct Slide {
    title: Line,
    pieces: Vec<Piece>,
    place: Place,
    in_table: bool,
    line: Line,
    level: u8,
    bullet: Option<bool>,
    marks: Vec<MarkKind>,
    words: bool,
}

impl Slide {
    fn end_paragraph(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_blank() {
            return;
        }
        let listed = self
            .bullet
            .unwrap_or(self.place == Place::Body || self.level > 0);
        let kind = match listed && !self.in_table {
            true => BlockKind::ListItem {
                depth: self.level,
                number: None,
            },
            false => BlockKind::Paragraph,
        };
        match self.place {
            Place::Repeated => {}
            Place::Title if self.title.is_blank() => self.title = line,
            Place::Title => {
                self.title.push(" ", &[]);
                let words = line.text;
                self.title.push(&words, &[]);
            }
            Place::Free | Place::Body => self.pieces.push(Piece::Block(kind, line)),
        }
    }
}

impl Visitor for Slide {
    /// The second form of what a writer gives in two.
    fn passes_over(&self, name: &str) -> bool {
        name == "Fallback"
    }

    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        match tag.name {
            "sp" | "graphicFrame" | "pic" => self.place = Place::Free,
            "ph" => {
                self.place = match tag.attribute("type").as_deref() {
                    Some("title" | "ctrTitle") => Place::Title,
                    Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Place::Repeated,
                    _ => Place::Body,
                };
            }
            "cNvPr" => {
                if let Some(words) = tag.attribute("descr").filter(|d| !d.trim().is_empty()) {
                    let caption = Piece::Block(BlockKind::Caption, Line::plain(&words));
                    self.pieces.push(caption);
                }
            }
            "tbl" => self.in_table = true,
            "tr" => self.pieces.push(Piece::Row),
            "tc" => self.pieces.push(Piece::Cell),
            "p" => {
                self.line = Line::default();
                (self.level, self.bullet) = (0, None);
            }
            "pPr" => self.level = tag.number("lvl").unwrap_or(0).min(8),
            "buNone" => self.bullet = Some(false),
            "buChar" | "buAutoNum" | "buBlip" => self.bullet = Some(true),
            "r" => self.marks.clear(),
            "rPr" => {
                let on = |name| tag.attribute(name).is_some_and(|v| v == "1" || v == "true");
                self.marks.extend(on("b").then_some(MarkKind::Strong));
                self.marks.extend(on("i").then_some(MarkKind::Emphasis));
            }
            "t" => self.words = true,
            "br" => self.line.push("\n", &[]),
            _ => {}
        }
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        if self.words {
            let marks = std::mem::take(&mut self.marks);
            self.line.push(words, &marks);
            self.marks = marks;
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "t" => self.words = false,
            "p" => self.end_paragraph(),
            "tbl" => self.in_table = false,
            "tr" => self.pieces.push(Piece::RowEnd),
            _ => {}
        }
        Ok(())
    }
}
