//! What the styles of a DOCX make of a paragraph or a run.

use super::super::IngestFault;
use super::super::xml::{Tag, Visitor, walk};
use super::numbering::Numbered;
use crate::document::MarkKind;
use std::collections::HashMap;

/// Styles that are followed to the one they are based on; a longer chain is a circle.
const LONGEST_CHAIN: usize = 16;

/// What a style makes of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Heading of level 1 to 6.
    Heading(u8),
    /// Quotation.
    Quote,
    /// Caption of a table or picture.
    Caption,
    /// Lines of code.
    Code,
    /// A line of a table of contents.
    Contents,
}

/// The styles of a file.
#[derive(Debug, Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Style>,
}

#[derive(Debug, Default)]
struct Style {
    based_on: Option<String>,
    rank: Option<Rank>,
    numbered: Numbered,
    marks: Vec<MarkKind>,
}

impl Styles {
    /// Reads `word/styles.xml`.
    pub fn read(xml: &str, format: &'static str) -> Result<Styles, IngestFault> {
        let mut reader = Reader::default();
        walk(xml, format, &mut reader)?;
        Ok(reader.styles)
    }

    /// What a paragraph of that style is.
    pub fn rank(&self, id: &str) -> Option<Rank> {
        self.chain(id).find_map(|style| style.rank)
    }

    /// The list that a paragraph of that style belongs to.
    pub fn numbered(&self, id: &str) -> Numbered {
        self.chain(id).fold(Numbered::default(), |numbered, style| {
            numbered.or(&style.numbered)
        })
    }

    /// What a run of that character style is set in.
    pub fn marks(&self, id: &str) -> impl Iterator<Item = MarkKind> {
        self.chain(id).flat_map(|style| style.marks.iter().copied())
    }

    /// The style, what it is based on, and so on.
    fn chain(&self, id: &str) -> impl Iterator<Item = &Style> {
        let next = |style: &&Style| self.by_id.get(style.based_on.as_deref()?);
        std::iter::successors(self.by_id.get(id), next).take(LONGEST_CHAIN)
    }
}

/// What a style is by its English name, which Word writes in all languages.
fn rank_of(name: &str) -> Option<Rank> {
    let name = name.to_ascii_lowercase();
    if let Some(level) = name.strip_prefix("heading ") {
        return level
            .trim()
            .parse()
            .ok()
            .map(|l: u8| Rank::Heading(l.clamp(1, 6)));
    }
    if name
        .strip_prefix("toc ")
        .is_some_and(|level| level.parse::<u8>().is_ok())
    {
        return Some(Rank::Contents);
    }
    match name.as_str() {
        "title" => Some(Rank::Heading(1)),
        "quote" | "intense quote" | "block text" => Some(Rank::Quote),
        "caption" => Some(Rank::Caption),
        "html preformatted" | "plain text" | "macro text" => Some(Rank::Code),
        name => name.contains("code").then_some(Rank::Code),
    }
}

#[derive(Default)]
struct Reader {
    styles: Styles,
    id: String,
    style: Style,
}

impl Visitor for Reader {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        let value = || tag.attribute("val");
        match tag.name {
            "style" => {
                self.id = tag.attribute("styleId").unwrap_or_default();
                self.style = Style::default();
            }
            "name" => {
                self.style.rank = value().and_then(|name| rank_of(&name)).or(self.style.rank);
            }
            "basedOn" => self.style.based_on = value(),
            // 0 to 8; 9 is body text
            "outlineLvl" => {
                let level = tag.number::<u8>("val").filter(|level| *level < 9);
                let heading = level.map(|level| Rank::Heading((level + 1).min(6)));
                self.style.rank = self.style.rank.or(heading);
            }
            "numId" => self.style.numbered.list = value(),
            "ilvl" => self.style.numbered.level = tag.number("val"),
            "b" if is_on(tag) => self.style.marks.push(MarkKind::Strong),
            "i" if is_on(tag) => self.style.marks.push(MarkKind::Emphasis),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        if name == "style" {
            let id = std::mem::take(&mut self.id);
            self.styles
                .by_id
                .insert(id, std::mem::take(&mut self.style));
        }
        Ok(())
    }
}

/// Whether a property that is switched on by being there is on.
pub(super) fn is_on(tag: &Tag) -> bool {
    let off = ["0", "false", "off", "none"];
    !tag.attribute("val")
        .is_some_and(|value| off.contains(&value.as_str()))
}
