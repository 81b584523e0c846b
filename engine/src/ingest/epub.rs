//! EPUB 2 and 3 to blocks: the chapters in the order of the spine, sections from the book's table of contents.
//!
//! rbook reads the package, spine and table of contents; chapters go through `html`. Every part is unpacked through
//! a writer with a limit, so a zip bomb costs no more than that. Nothing but the chapters' text is read.

use super::builder::{DocumentBuilder, nest};
use super::encoding::decode;
use super::html::{append_page, declared_encoding, expand_empty_elements, one_line};
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind, Section};
use rbook::Epub;
use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::sync::Arc;

/// Where a chapter's text begins, and where its named elements do.
#[derive(Default)]
struct Chapter {
    item: String,
    start: usize,
    targets: HashMap<String, usize>,
}

/// Extracts an EPUB file.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes: Arc<[u8]> = extraction.read_container()?.into();
    refuse_locked_or_swollen(&bytes, extraction)?;
    let epub = Epub::options()
        .strict(false)
        .read(Cursor::new(bytes))
        .map_err(|error| damaged(&error))?;
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut lost = Vec::new();
    let count = epub.spine().len().max(1);
    for (index, entry) in epub.spine().iter().enumerate() {
        extraction.progress(0.05 + 0.9 * index as f32 / count as f32);
        let Some(item) = entry.manifest_entry() else {
            lost.push(entry.idref().to_owned());
            continue;
        };
        let path = item_path(item.href().path().as_str());
        if !matches!(
            item.media_type(),
            "application/xhtml+xml"
                | "text/html"
                | "application/xml"
                | "text/xml"
                | "text/x-oeb1-document"
        ) {
            continue; // a picture in the spine
        }
        let mut part = Limited::new(extraction.limits().part_bytes);
        if let Err(error) = item.copy_bytes(&mut part) {
            if part.exceeded {
                return Err(IngestFault::Bomb { limit: part.limit });
            }
            tracing::debug!(%path, %error, "a chapter cannot be read");
            lost.push(path);
            continue;
        }
        let Ok((page, _)) = decode(&part.bytes, declared_encoding(&part.bytes)) else {
            lost.push(path);
            continue;
        };
        let start = builder.next_start();
        let facts = append_page(&mut builder, &expand_empty_elements(&page))?;
        let targets = facts.targets.into_iter().rev().collect(); // the first of a name counts
        chapters.push(Chapter {
            item: path,
            start,
            targets,
        });
    }
    if builder.blocks().is_empty() && !lost.is_empty() {
        return Err(IngestFault::Damaged {
            format: "EPUB".into(),
            reason: format!("none of its {} chapters can be read", lost.len()),
        });
    }
    let notices = match lost.len() {
        0 => Vec::new(),
        1 => vec![format!("One chapter could not be read: {}.", lost[0])],
        n => vec![format!(
            "{n} chapters could not be read: {}.",
            lost.join(", ")
        )],
    };
    let metadata = epub.metadata();
    let title = metadata
        .title()
        .and_then(|t| one_line(t.value()))
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let authors: Vec<String> = metadata
        .creators()
        .filter_map(|c| one_line(c.value()))
        .collect();
    let authors = (!authors.is_empty()).then(|| authors.join(", "));
    let sections = sections(&epub, &builder, &chapters, &title);
    builder.finish(DocumentKind::Epub, title, authors, sections, notices)
}

fn damaged(error: &dyn std::fmt::Display) -> IngestFault {
    IngestFault::Damaged {
        format: "EPUB".into(),
        reason: error.to_string(),
    }
}

/// `/OEBPS/ch%201.xhtml` as the archive names it: no leading slash, percent signs decoded.
fn item_path(href: &str) -> String {
    let href = href.trim_start_matches('/');
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(|_| *first == b'%')
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Looks into the archive before a parser does: is it a zip at all, does its directory promise absurd sizes, are its
/// chapters encrypted.
fn refuse_locked_or_swollen(bytes: &[u8], extraction: &Extraction) -> Result<(), IngestFault> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    let limit = extraction.limits().part_bytes;
    for index in 0..archive.len() {
        let entry = archive
            .by_index_raw(index)
            .map_err(|error| damaged(&error))?;
        let markup = [".opf", ".ncx", ".xml", ".xhtml", ".html", ".htm"];
        let name = entry.name().unwrap_or_default().to_ascii_lowercase();
        if markup.iter().any(|end| name.ends_with(end)) && entry.size() > limit {
            return Err(IngestFault::Bomb { limit });
        }
    }
    let Ok(entry) = archive.by_name("META-INF/encryption.xml") else {
        return Ok(());
    };
    let mut text = Vec::new();
    if std::io::Read::read_to_end(&mut std::io::Read::take(entry, 1 << 20), &mut text).is_err() {
        return Ok(());
    }
    // Obfuscated fonts are common and harmless; anything else that is encrypted is copy protection.
    let text = String::from_utf8_lossy(&text);
    let fonts = text.matches("http://www.idpf.org/2008/embedding").count()
        + text.matches("http://ns.adobe.com/pdf/enc#RC").count();
    let encrypted =
        text.matches("<EncryptedData").count() + text.matches(":EncryptedData").count() / 2;
    if encrypted > fonts {
        Err(IngestFault::Drm)
    } else {
        Ok(())
    }
}

/// Sections from the table of contents where it points into the spine; each item that no entry points to gets a
/// section of its own below, so that every character knows its item. Without a usable table of contents: headings. What
/// stands before all of them, a cover mostly, is called like the book.
fn sections(
    epub: &Epub,
    builder: &DocumentBuilder,
    chapters: &[Chapter],
    book: &str,
) -> Vec<Section> {
    let mut listed: Vec<(u16, String, usize, String)> = Vec::new();
    if let Some(contents) = epub.toc().contents() {
        for entry in contents.flatten() {
            let Some(href) = entry.href() else { continue };
            let path = item_path(href.path().as_str());
            let Some(chapter) = chapters.iter().find(|c| c.item == path) else {
                continue;
            };
            let start = href
                .fragment()
                .and_then(|fragment| chapter.targets.get(&item_path(fragment)).copied())
                .unwrap_or(chapter.start);
            if let Some(title) = one_line(entry.label()) {
                listed.push((entry.depth() as u16, title, start, path));
            }
        }
    }
    listed.sort_by_key(|entry| entry.2); // stable: a part and its first chapter may begin together
    if listed.len() < 2 {
        listed = headings(builder, chapters);
    }
    for chapter in chapters {
        let before = listed.iter().rposition(|entry| entry.2 <= chapter.start);
        if before.is_some_and(|index| listed[index].3 == chapter.item) {
            continue;
        }
        let depth = before.map_or(0, |index| listed[index].0 + 1);
        let title = chapter_title(builder, chapter.start)
            .or_else(|| before.map(|index| listed[index].1.clone()))
            .unwrap_or_else(|| book.to_owned());
        listed.insert(
            before.map_or(0, |index| index + 1),
            (depth, title, chapter.start, chapter.item.clone()),
        );
    }
    listed.retain(|entry| entry.2 < builder.text().len());
    nest(listed, builder.text().len() + 1)
}

fn headings(builder: &DocumentBuilder, chapters: &[Chapter]) -> Vec<(u16, String, usize, String)> {
    let item_at = |offset: usize| {
        let next = chapters.partition_point(|c| c.start <= offset);
        next.checked_sub(1)
            .map(|index| chapters[index].item.clone())
            .unwrap_or_default()
    };
    builder
        .sections_from_headings("")
        .into_iter()
        .map(|s| (s.depth, s.title, s.span.start, item_at(s.span.start)))
        .collect()
}

/// The heading with which an item begins.
fn chapter_title(builder: &DocumentBuilder, start: usize) -> Option<String> {
    let block = builder.blocks().iter().find(|b| b.span.start >= start)?;
    match block.kind {
        BlockKind::Heading(_) => one_line(&builder.text()[block.span.start..block.span.end]),
        _ => None,
    }
}

/// Keeps what is written to it, up to a limit.
struct Limited {
    bytes: Vec<u8>,
    limit: u64,
    exceeded: bool,
}

impl Limited {
    fn new(limit: u64) -> Limited {
        Limited {
            bytes: Vec::new(),
            limit,
            exceeded: false,
        }
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.limit {
            self.exceeded = true;
            return Err(std::io::Error::other("the part unpacks beyond its limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
