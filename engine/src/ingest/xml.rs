//! XML as a stream of elements and words, without a tree: a part of any size costs no more memory than its text.
//!
//! Names come without their prefix: the office formats are told apart by their local names, and writers choose
//! prefixes freely. Entities beyond the five of XML and character references are dropped, so nothing expands.

use super::IngestFault;
use super::archive::damaged;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::QName;
use quick_xml::reader::Reader;

/// An element's start.
pub(super) struct Tag<'x> {
    /// Local name.
    pub name: &'x str,
    start: &'x BytesStart<'x>,
}

impl Tag<'_> {
    /// The attribute of that local name.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.find(|key| key.local_name().into_inner() == name)
    }

    /// The attribute of that local name that has a prefix, for elements that have one without and one with.
    pub fn prefixed_attribute(&self, name: &str) -> Option<String> {
        self.find(|key| key.prefix().is_some() && key.local_name().into_inner() == name)
    }

    fn find(&self, is: impl Fn(QName) -> bool) -> Option<String> {
        let mut attributes = self.start.attributes();
        let found = attributes
            .with_checks(false)
            .flatten()
            .find(|a| is(a.key))?;
        let value = found.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some(value.into_owned())
    }

    /// The attribute as a whole number.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.attribute(name)?.trim().parse().ok()
    }
}

/// What is told of the elements of a part, in order.
pub(super) trait Visitor {
    /// Whether nothing of an element is to be told, neither it nor what is in it.
    fn passes_over(&self, _name: &str) -> bool {
        false
    }

    /// An element begins; an empty one ends at once.
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault>;

    /// Words inside the innermost open element.
    fn words(&mut self, _words: &str) -> Result<(), IngestFault> {
        Ok(())
    }

    /// The innermost open element ends.
    fn close(&mut self, _name: &str) -> Result<(), IngestFault> {
        Ok(())
    }
}

/// Walks through `xml`; `format` names the file in errors.
pub(super) fn walk(
    xml: &str,
    format: &'static str,
    visitor: &mut dyn Visitor,
) -> Result<(), IngestFault> {
    let mut reader = Reader::from_str(xml);
    let mut passed_over = 0usize; // open elements of which nothing is told
    loop {
        let event = reader
            .read_event()
            .map_err(|error| damaged(format, &error))?;
        if passed_over > 0 {
            match event {
                Event::Start(_) => passed_over += 1,
                Event::End(_) => passed_over -= 1,
                Event::Eof => return Ok(()),
                _ => {}
            }
            continue;
        }
        match event {
            Event::Start(start) if visitor.passes_over(start.local_name().into_inner()) => {
                passed_over = 1;
            }
            Event::Start(start) => open(&start, visitor)?,
            Event::Empty(start) if visitor.passes_over(start.local_name().into_inner()) => {}
            Event::Empty(start) => {
                open(&start, visitor)?;
                visitor.close(start.local_name().into_inner())?;
            }
            Event::End(end) => visitor.close(end.local_name().into_inner())?,
            Event::Text(words) => visitor.words(&words.xml10_content())?,
            Event::CData(words) => visitor.words(&words.xml10_content())?,
            Event::GeneralRef(reference) => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    visitor.words(character.encode_utf8(&mut [0; 4]))?;
                } else if let Some(words) =
                    quick_xml::escape::resolve_predefined_entity(&reference.xml10_content())
                {
                    visitor.words(words)?;
                }
            }
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn open(start: &BytesStart, visitor: &mut dyn Visitor) -> Result<(), IngestFault> {
    visitor.open(&Tag {
        name: start.local_name().into_inner(),
        start,
    })
}
