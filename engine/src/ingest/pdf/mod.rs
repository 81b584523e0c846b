//! PDF to text with a box for each character.
//!
//! In: the file. Out: a document whose text is in reading order, whose words are whole, and which knows where on its
//! page each character stands, so that a citation lights up exactly the words it means.
//!
//! The way: `open` parses and decrypts (lopdf); `content` reduces each page to what sets text and `font` makes its
//! fonts readable; pdf-extract interprets that and reports each character through its `OutputDev` (`glyph`);
//! `segment` finds words and pieces of lines; `furniture` takes running headers off; `order` finds columns;
//! `paragraph` joins lines; `assemble` makes the document, with sections from the `outline`.
//!
//! Why not pdf-extract's own text: it has no reading order and no positions. Why it is fed reduced content: it panics
//! on what it does not know, and almost all of that (colours, pictures, patterns) has nothing to do with text. What
//! still panics costs one page, and a notice says which.

mod assemble;
mod bidi;
mod comments;
mod content;
mod font;
mod furniture;
mod glyph;
mod open;
mod order;
mod outline;
mod paragraph;
mod reader;
mod repair;
mod segment;
mod unstated;

use super::{Extraction, IngestFault};
use crate::document::Document;
use assemble::Sheet;
use furniture::PageSegments;
use glyph::Glyph;
use paragraph::Paragraph;
use reader::{PageGlyphs, Reader};
use segment::Segment;

/// Extracts a PDF.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let pdf = open::open(extraction, &bytes)?;
    match document_of(extraction, pdf) {
        // Nothing where something should be: perhaps the cross references lead astray.
        Err(fault @ (IngestFault::NoPages | IngestFault::NoText { .. })) => {
            match open::open_rebuilt(extraction, &bytes) {
                Some(pdf) => document_of(extraction, pdf).map_err(|_| fault),
                None => Err(fault),
            }
        }
        result => result,
    }
}

fn document_of(
    extraction: &mut Extraction,
    pdf: pdf_extract::Document,
) -> Result<Document, IngestFault> {
    extraction.progress(0.1);
    let pages = open::pages(&pdf);
    if pages.is_empty() {
        return Err(IngestFault::NoPages);
    }
    let ids: Vec<_> = pages.iter().map(|page| page.id).collect();
    let labels = outline::page_labels(&pdf, pages.len());
    let entries = outline::outline(&pdf, &ids);
    let (title, authors) = metadata(&pdf);

    let limit = extraction.limits().pdf_text_bytes;
    let mut reader = Reader::new(pdf, limit as usize);
    let mut sheets = Vec::with_capacity(pages.len());
    let mut upright = Vec::with_capacity(pages.len());
    let mut turned: Vec<Vec<PageSegments>> = Vec::with_capacity(pages.len());
    let (mut failed, mut scanned, mut textless) = (Vec::new(), Vec::new(), 0);
    let count = pages.len();
    for ((index, page), label) in pages.iter().enumerate().zip(labels) {
        extraction.progress(0.1 + 0.7 * index as f32 / count as f32);
        let PageGlyphs {
            glyphs,
            size: [width, height],
            whole,
            picture,
        } = reader.read(page);
        let text = glyphs.iter().any(|g| !g.character.is_whitespace());
        textless += usize::from(!text);
        if !whole {
            failed.push(index + 1);
        } else if !text && picture {
            scanned.push(index + 1); // a page without either is blank
        }
        sheets.push(Sheet {
            label,
            width,
            height,
        });
        let mut by_turn = by_direction(&glyphs, width, height);
        upright.push(by_turn.remove(0));
        turned.push(by_turn);
    }
    if textless == count {
        return Err(match failed.len() {
            0 => IngestFault::NoText { pages: count },
            _ => IngestFault::Damaged {
                format: "PDF".into(),
                reason: "no page can be read".into(),
            },
        });
    }
    furniture::remove(&mut upright);

    let bold = |font: u16| reader.is_bold(font);
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    for (index, (page, turned)) in upright.into_iter().zip(turned).enumerate() {
        extraction.progress(0.8 + 0.2 * index as f32 / count as f32);
        for part in std::iter::once(page).chain(turned) {
            for region in order::regions(part.segments) {
                paragraphs.extend(paragraph::paragraphs(
                    &region,
                    index,
                    part.height.max(1.0),
                    &bold,
                ));
            }
        }
    }
    let paragraphs = paragraph::rejoined(paragraphs);
    let mut document = assemble::document(sheets, paragraphs, &entries, limit)?;
    if document.blocks.is_empty() {
        return Err(IngestFault::NoText { pages: count });
    }
    document.title = title
        .or_else(|| first_heading(&document))
        .unwrap_or_else(|| extraction.file_title());
    document.authors = authors;
    document.notices = notices(&scanned, &failed);
    Ok(document)
}

/// The segments of a page for each direction of text, the upright ones first.
fn by_direction(glyphs: &[Glyph], width: f32, height: f32) -> Vec<PageSegments> {
    (0..4)
        .map(|turns| {
            let part: Vec<Glyph> = glyphs
                .iter()
                .filter(|g| g.turns == turns)
                .copied()
                .collect();
            let segments: Vec<Segment> = if part.is_empty() {
                Vec::new()
            } else {
                segment::segments(&part)
            };
            PageSegments {
                segments,
                height: if turns % 2 == 0 { height } else { width },
            }
        })
        .collect()
}

fn metadata(pdf: &pdf_extract::Document) -> (Option<String>, Option<String>) {
    let info = pdf
        .trailer
        .get(b"Info")
        .ok()
        .and_then(|info| open::dictionary(pdf, info));
    let value = |key: &[u8]| {
        info.and_then(|info| open::get(pdf, info, key))
            .and_then(outline::text)
    };
    // "Microsoft Word - draft3.doc" and "untitled" are names of files, not of works.
    let title = value(b"Title").filter(|title| {
        let lower = title.to_lowercase();
        let file = [
            ".doc", ".docx", ".pdf", ".tex", ".dvi", ".indd", ".qxd", ".ps", ".rtf",
        ];
        !lower.starts_with("microsoft word")
            && !lower.starts_with("untitled")
            && !file.iter().any(|e| lower.ends_with(e))
    });
    (title, value(b"Author"))
}

fn first_heading(document: &Document) -> Option<String> {
    let heading = document
        .blocks
        .iter()
        .take(20)
        .find(|b| matches!(b.kind, crate::document::BlockKind::Heading(_)))?;
    super::html::one_line(heading.span.of(&document.text)?)
}

fn notices(scanned: &[usize], failed: &[usize]) -> Vec<String> {
    let mut notices = Vec::new();
    match scanned.len() {
        0 => {}
        1 => notices.push(format!(
            "Page {} holds no text; it may be a scanned picture.",
            scanned[0]
        )),
        _ => notices.push(format!(
            "Pages {} hold no text; they may be scanned pictures.",
            ranges(scanned)
        )),
    }
    match failed.len() {
        0 => {}
        1 => notices.push(format!(
            "Page {} is damaged; its text may be missing or incomplete.",
            failed[0]
        )),
        _ => notices.push(format!(
            "Pages {} are damaged; their text may be missing or incomplete.",
            ranges(failed)
        )),
    }
    notices
}

/// "3-7, 9 and 12".
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => parts.push((number, number)),
        }
    }
    let mut words: Vec<String> = parts
        .into_iter()
        .map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}-{b}")
            }
        })
        .collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} and {last}", words.join(", ")),
        Some(last) => last,
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_in_words() {
        assert_eq!(super::ranges(&[3, 4, 5, 9, 11, 12]), "3-5, 9 and 11-12");
        assert_eq!(super::ranges(&[1, 2]), "1-2");
        assert_eq!(super::ranges(&[8]), "8");
    }
}
