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
    /// An element begins; an empty one ends at once.
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault>;
    /// Words inside the innermost open element.
    fn words(&mut self, words: &str) -> Result<(), IngestFault>;
    /// The innermost open element ends.
    fn close(&mut self, name: &str) -> Result<(), IngestFault>;
}

/// Walks through `xml`; `format` names the file in errors.
pub(super) fn walk(
    xml: &str,
    format: &'static str,
    visitor: &mut dyn Visitor,
) -> Result<(), IngestFault> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => open(&start, visitor)?,
            Ok(Event::Empty(start)) => {
                open(&start, visitor)?;
                visitor.close(start.local_name().into_inner())?;
            }
            Ok(Event::End(end)) => visitor.close(end.local_name().into_inner())?,
            Ok(Event::Text(words)) => visitor.words(&words.xml10_content())?,
            Ok(Event::CData(words)) => visitor.words(&words.xml10_content())?,
            Ok(Event::GeneralRef(reference)) => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    visitor.words(character.encode_utf8(&mut [0; 4]))?;
                } else if let Some(words) =
                    quick_xml::escape::resolve_predefined_entity(&reference.xml10_content())
                {
                    visitor.words(words)?;
                }
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
            Err(error) => return Err(damaged(format, &error)),
        }
    }
}

fn open(start: &BytesStart, visitor: &mut dyn Visitor) -> Result<(), IngestFault> {
    visitor.open(&Tag {
        name: start.local_name().into_inner(),
        start,
    })
}
