//! Title and author of an office file.

use super::super::IngestFault;
use super::super::archive::Archive;
use super::super::html::one_line;
use super::super::xml::{Tag, Visitor, walk};

/// What a file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Its title.
    pub title: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
}

/// Reads them from the part of that name: `docProps/core.xml`, or `meta.xml` of an OpenDocument.
///
/// They are an extra: a part that is broken says nothing.
pub(super) fn properties(archive: &mut Archive, part: &str) -> Properties {
    let mut found = Found::default();
    if let Ok(Some(xml)) = archive.text(part)
        && let Err(fault) = walk(&xml, archive.format(), &mut found)
    {
        tracing::debug!(%fault, part, "the properties cannot be read");
    }
    Properties {
        title: one_line(&found.title),
        author: one_line(&found.author).or_else(|| one_line(&found.first_author)),
    }
}

#[derive(Default)]
struct Found {
    open: String,
    title: String,
    author: String,
    /// `meta:initial-creator` of an OpenDocument, whose `dc:creator` is who changed it last.
    first_author: String,
}

impl Visitor for Found {
    fn open(&mut self, tag: &Tag) -> Result<(), IngestFault> {
        tag.name.clone_into(&mut self.open);
        Ok(())
    }

    fn words(&mut self, words: &str) -> Result<(), IngestFault> {
        match self.open.as_str() {
            "title" => self.title.push_str(words),
            "creator" => self.author.push_str(words),
            "initial-creator" => self.first_author.push_str(words),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), IngestFault> {
        self.open.clear();
        Ok(())
    }
}
