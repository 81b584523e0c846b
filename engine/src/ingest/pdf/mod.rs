//! PDF to text with a box for each character.
//!
//! In: the file. Out: a document whose text is in reading order, whose words are whole, and which knows where on its
//! page each character stands, so that a citation lights up exactly the words it means.
//!
//! The way: `open` parses and decrypts (lopdf); `content` reduces each page to what sets text and `font` makes its
//! fonts readable; pdf-extract interprets that and reports each character through its `OutputDev` (`glyph`);
//! `segment` finds words and pieces of lines; `furniture` takes running headers off; `order` finds columns;
//! `paragraph` joins lines; `assemble` makes the document, with sections from the `outline`. A page that holds no text
//! but a picture may have been recognised before: its lines come in as segments (`scanned`).
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
mod scanned;
mod segment;
mod unstated;

use super::sandbox::ScannedPages;
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
    let mut scanned = ScannedPages::default();
    let mut result = document_of(extraction, pdf, &mut scanned);
    // Nothing where something should be: perhaps the cross references lead astray.
    if let Err(IngestFault::NoPages | IngestFault::NoText { .. } | IngestFault::NoWords { .. }) =
        result
        && let Some(pdf) = open::open_rebuilt(extraction, &bytes)
    {
        let mut rebuilt = ScannedPages::default();
        if let Ok(document) = document_of(extraction, pdf, &mut rebuilt) {
            (result, scanned) = (Ok(document), rebuilt);
        }
    }
    extraction.set_scanned(scanned);
    result
}

fn document_of(
    extraction: &mut Extraction,
    pdf: pdf_extract::Document,
    unread: &mut ScannedPages,
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
    let recognised = extraction.recognised();
    let sizes = scanned::Sizes::of(recognised.values().flatten());
    let (mut scans, mut textless) = (Scans::default(), 0);
    let count = pages.len();
    unread.count = count as u32;
    for ((index, page), label) in pages.iter().enumerate().zip(labels) {
        extraction.progress(0.1 + 0.7 * index as f32 / count as f32);
        let PageGlyphs {
            glyphs,
            size: [width, height],
            whole,
            picture,
        } = reader.read(page);
        let text = glyphs.iter().any(|g| !g.character.is_whitespace());
        let mut by_turn = None;
        let mut from_picture = false;
        if !whole {
            scans.failed.push(index + 1);
        } else if !text && picture {
            // A page without either is blank.
            match recognised.get(&(index as u32)) {
                Some(Some(page)) => {
                    from_picture = !page.lines.is_empty();
                    if from_picture {
                        scans.recognised.push(index + 1);
                        by_turn = Some(scanned::by_direction(page, width, height, &sizes));
                    } else {
                        scans.unreadable.push(index + 1);
                    }
                }
                Some(None) => scans.unreadable.push(index + 1),
                None => {
                    scans.unread.push(index + 1);
                    unread.pages.push((index as u32, [width, height]));
                }
            }
        }
        textless += usize::from(!text && !from_picture);
        sheets.push(Sheet {
            label,
            width,
            height,
            recognised: from_picture,
        });
        let mut by_turn = by_turn.unwrap_or_else(|| by_direction(&glyphs, width, height));
        upright.push(by_turn.remove(0));
        turned.push(by_turn);
    }
    if textless == count {
        return Err(match scans.failed.len() {
            0 if scans.unread.is_empty() && !recognised.is_empty() => {
                IngestFault::NoneRecognised { pages: count }
            }
            0 => scans.no_text(count),
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
        return Err(scans.no_text(count));
    }
    document.title = title
        .or_else(|| first_heading(&document))
        .unwrap_or_else(|| extraction.file_title());
    document.authors = authors;
    document.notices = scans.notices();
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

/// How the notice of pages that wait for recognition goes on, which is how it is known again.
const GET_RECOGNITION: &str = "`lectern models get ocr` gets what recognises";

/// Whether a document's notices say that pages of it wait for recognition.
pub fn has_unread_scans(notices: &[String]) -> bool {
    notices
        .iter()
        .any(|notice| notice.contains(GET_RECOGNITION))
}

/// Pages that are not as they should be, by number.
#[derive(Default)]
struct Scans {
    /// Their content stops somewhere.
    failed: Vec<usize>,
    /// A picture and no text, and nobody tried to recognise it.
    unread: Vec<usize>,
    /// The same, and nothing was recognised on it.
    unreadable: Vec<usize>,
    /// The same, and it was.
    recognised: Vec<usize>,
}

impl Scans {
    /// Why a file of so many pages has no words.
    fn no_text(&self, pages: usize) -> IngestFault {
        match self.unread.is_empty() {
            true => IngestFault::NoWords { pages },
            false => IngestFault::NoText { pages },
        }
    }

    /// What a person is told of them.
    fn notices(&self) -> Vec<String> {
        let said = |pages: &[usize], one: &str, more: &str| {
            let pages_in_words = ranges(pages);
            match pages.len() {
                0 => None,
                1 => Some(format!("Page {pages_in_words} {one}")),
                _ => Some(format!("Pages {pages_in_words} {more}")),
            }
        };
        let of_text = match self.recognised.len() {
            0 => None,
            1 => Some(format!("of page {}", ranges(&self.recognised))),
            _ => Some(format!("of pages {}", ranges(&self.recognised))),
        };
        [
            of_text.map(|pages| {
                format!(
                    "Recognised text: the words {pages} were recognised from pictures and may hold errors."
                )
            }),
            said(
                &self.unread,
                &format!("holds no text; it is probably scanned. {GET_RECOGNITION} it (32 MB); then add the file again."),
                &format!("hold no text; they are probably scanned. {GET_RECOGNITION} them (32 MB); then add the file again."),
            ),
            said(
                &self.unreadable,
                "is a picture on which no text was recognised.",
                "are pictures on which no text was recognised.",
            ),
            said(
                &self.failed,
                "is damaged; its text may be missing or incomplete.",
                "are damaged; their text may be missing or incomplete.",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
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
