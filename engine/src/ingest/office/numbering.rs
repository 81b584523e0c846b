//! Lists of a DOCX: which paragraphs are numbered, and what number is printed.

use super::super::IngestFault;
use super::super::numerals::{letters, roman};
use super::super::xml::{Tag, Visitor, walk};
use std::collections::HashMap;

/// Levels of a list.
const LEVELS: usize = 9;

/// The list that a paragraph belongs to, as it or its style says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Id of the list; "0" takes a paragraph out of its style's.
    pub list: Option<String>,
    /// 0 outermost.
    pub level: Option<usize>,
}

impl Numbered {
    /// What is not said here is as in `other`.
    pub fn or(self, other: &Numbered) -> Numbered {
        Numbered {
            list: self.list.or_else(|| other.list.clone()),
            level: self.level.or(other.level),
        }
    }
}

/// The place of a paragraph in its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 outermost.
    pub level: usize,
    /// Its number; `None` if it has a bullet.
    pub number: Option<u32>,
    /// What is printed before it: "2.1", "(c)"; empty for a bullet.
    pub label: String,
}

/// The lists of a file, and how far each has been counted.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// Definitions by their id.
    abstracts: HashMap<String, Vec<Level>>,
    /// Lists by id: their definition, and levels that begin anew with another number.
    lists: HashMap<String, List>,
    /// Last numbers by definition: lists of one definition count on.
    counted: HashMap<String, [Option<u32>; LEVELS]>,
    /// Lists that were met.
    met: std::collections::HashSet<String>,
}

#[derive(Debug, Default, Clone)]
struct List {
    definition: String,
    starts: HashMap<usize, u32>,
}

#[derive(Debug, Clone)]
struct Level {
    format: String,
    start: u32,
    /// "%1.%2"; `%n` stands for the number of level n.
    text: String,
}

impl Default for Level {
    fn default() -> Level {
        Level {
            format: "decimal".into(),
            start: 1,
            text: String::new(),
        }
    }
}

impl Numbering {
    /// Reads `word/numbering.xml`.
    pub fn read(xml: &str, format: &'static str) -> Result<Numbering, IngestFault> {
        let mut reader = Reader::default();
        walk(xml, format, &mut reader)?;
        Ok(reader.numbering)
    }

    /// Counts a paragraph; `None` if it is in no list.
    pub fn count(&mut self, numbered: &Numbered) -> Option<Place> {
        let id = numbered.list.as_ref().filter(|id| *id != "0")?;
        let list = self.lists.get(id)?;
        let level = numbered.level.unwrap_or(0).min(LEVELS - 1);
        let levels = self.abstracts.get(&list.definition)?;
        let own = levels.get(level)?;
        let counted = self.counted.entry(list.definition.clone()).or_default();
        if self.met.insert(id.clone()) {
            for level in list.starts.keys() {
                counted[*level] = None;
            }
        }
        let first = |level: usize| {
            let own = levels.get(level).map_or(1, |l| l.start);
            list.starts.get(&level).copied().unwrap_or(own)
        };
        let number = counted[level].map_or_else(|| first(level), |last| last.saturating_add(1));
        counted[level] = Some(number);
        counted[level + 1..].fill(None);
        if own.format == "bullet" || own.format == "none" {
            return Some(Place {
                level,
                number: None,
                label: String::new(),
            });
        }
        let mut label = String::new();
        let mut rest = own.text.chars();
        while let Some(character) = rest.next() {
            let other = (character == '%').then(|| rest.next()).flatten();
            match other.and_then(|digit| digit.to_digit(10)) {
                Some(other @ 1..=9) => {
                    let other = other as usize - 1;
                    let number = counted[other].unwrap_or_else(|| first(other));
                    let format = levels.get(other).map_or("decimal", |l| &l.format);
                    label.push_str(&printed(number, format));
                }
                _ => label.push(character),
            }
        }
        Some(Place {
            level,
            number: Some(number),
            label: label.trim().to_owned(),
        })
    }
}

/// A number as a format prints it; formats of other scripts as digits.
fn printed(number: u32, format: &str) -> String {
    match format {
        "lowerRoman" => roman(number as usize).to_lowercase(),
        "upperRoman" => roman(number as usize),
        "lowerLetter" => letters(number as usize).to_lowercase(),
        "upperLetter" => letters(number as usize),
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

#[derive(Default)]
struct Reader {
    numbering: Numbering,
    definition: String,
    levels: Vec<Level>,
    level: usize,
    list: Option<(String, List)>,
}

impl Visitor for Reader {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        let value = || tag.attribute("val");
        match tag.name {
            "abstractNum" => {
                self.definition = tag.attribute("abstractNumId").unwrap_or_default();
                self.levels = vec![Level::default(); LEVELS];
            }
            "lvl" => self.level = tag.number("ilvl").unwrap_or(0).min(LEVELS - 1),
            "num" => {
                self.list = Some((tag.attribute("numId").unwrap_or_default(), List::default()));
            }
            "abstractNumId" => {
                if let Some((_, list)) = &mut self.list {
                    list.definition = value().unwrap_or_default();
                }
            }
            "lvlOverride" => self.level = tag.number("ilvl").unwrap_or(0).min(LEVELS - 1),
            "startOverride" => {
                if let (Some((_, list)), Some(start)) = (&mut self.list, tag.number("val")) {
                    list.starts.insert(self.level, start);
                }
            }
            "start" | "numFmt" | "lvlText" if self.list.is_none() => {
                if let Some(level) = self.levels.get_mut(self.level) {
                    match tag.name {
                        "start" => level.start = tag.number("val").unwrap_or(1),
                        "numFmt" => level.format = value().unwrap_or_default(),
                        _ => level.text = value().unwrap_or_default(),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), IngestFault> {
        match name {
            "abstractNum" => {
                let id = std::mem::take(&mut self.definition);
                let levels = std::mem::take(&mut self.levels);
                self.numbering.abstracts.insert(id, levels);
            }
            "num" => self.numbering.lists.extend(self.list.take()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_printed_as_their_levels_say() {
        let xml = r#"<w:numbering xmlns:w="w">
            <w:abstractNum w:abstractNumId="7">
              <w:lvl w:ilvl="0"><w:start w:val="3"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
              <w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
              <w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="-"/></w:lvl>
            </w:abstractNum>
            <w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>
            <w:num w:numId="2"><w:abstractNumId w:val="7"/>
              <w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>
          </w:numbering>"#;
        let mut numbering = Numbering::read(xml, "Word").unwrap();
        let mut label = |list: &str, level| {
            let numbered = Numbered {
                list: Some(list.into()),
                level: Some(level),
            };
            numbering.count(&numbered).map(|place| place.label)
        };
        assert_eq!(label("1", 0).as_deref(), Some("3."));
        assert_eq!(label("1", 1).as_deref(), Some("3.a)"));
        assert_eq!(label("1", 1).as_deref(), Some("3.b)"));
        assert_eq!(label("1", 2).as_deref(), Some(""));
        assert_eq!(label("1", 0).as_deref(), Some("4."));
        assert_eq!(label("1", 1).as_deref(), Some("4.a)"));
        assert_eq!(label("2", 0).as_deref(), Some("1."));
        assert_eq!(label("0", 0), None);
        assert_eq!(label("9", 0), None);
    }
}
