//! Paragraphs of all pages to a document: text with a box for each character, headings, sections.

use super::outline::Entry;
use super::paragraph::Paragraph;
use crate::document::{Block, BlockKind, Document, DocumentKind, Page, Section, Span};
use crate::ingest::IngestFault;
use crate::ingest::builder::nest;
use std::collections::HashMap;

/// A heading is at least so much larger than the text.
const LARGER: f32 = 1.12;
/// Longest heading, in characters.
const HEADING: usize = 200;

/// A page before its characters are placed.
pub(super) struct Sheet {
    /// As printed.
    pub label: String,
    /// Points, as displayed.
    pub width: f32,
    /// Points, as displayed.
    pub height: f32,
    /// Whether its text was recognised from a picture.
    pub recognised: bool,
}

/// Puts the document together; title, authors and notices are left to the caller.
pub(super) fn document(
    sheets: Vec<Sheet>,
    paragraphs: Vec<Paragraph>,
    outline: &[Entry],
    limit: u64,
) -> Result<Document, IngestFault> {
    let kinds = kinds(&paragraphs);
    let mut text = String::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut begins: Vec<(usize, f32)> = Vec::new(); // page and top of each block
    let mut pages: Vec<Page> = Vec::new();
    for (paragraph, kind) in paragraphs.into_iter().zip(kinds) {
        let Some((first_page, _)) = paragraph.parts.first() else {
            continue;
        };
        begins.push((*first_page, paragraph.top));
        let mut separator = if blocks.is_empty() { "" } else { "\n\n" };
        let start = text.len() + separator.len();
        for (page, cells) in paragraph.parts {
            open_pages(&mut pages, &sheets, page, &mut text, separator);
            separator = "";
            let current = &mut pages[page];
            for cell in cells {
                text.push(cell.character);
                current.boxes.push(cell.shown);
            }
            current.span.end = text.len();
            if text.len() as u64 > limit {
                return Err(IngestFault::TextTooLong { limit });
            }
        }
        blocks.push(Block {
            kind,
            span: Span::new(start, text.len()),
            marks: Vec::new(),
        });
    }
    let count = sheets.len();
    if let Some(last) = count.checked_sub(1) {
        open_pages(&mut pages, &sheets, last, &mut text, "");
    }
    let sections = match outline.len() {
        0 | 1 => sections_by_headings(&text, &blocks),
        _ => sections_by_outline(outline, &text, &mut blocks, &begins, &sheets),
    };
    Ok(Document {
        kind: DocumentKind::Pdf,
        title: String::new(),
        authors: None,
        text,
        sections,
        blocks,
        pages,
        notices: Vec::new(),
    })
}

/// Makes pages up to `index`, and writes the separator that precedes the next block: on the page if it has begun,
/// between two pages if not.
fn open_pages(
    pages: &mut Vec<Page>,
    sheets: &[Sheet],
    index: usize,
    text: &mut String,
    separator: &str,
) {
    let begun = pages.len() == index + 1 && !pages[index].span.is_empty();
    text.push_str(separator);
    if begun {
        let page = &mut pages[index];
        page.boxes.extend(separator.chars().map(|_| [0.0; 4]));
        page.span.end = text.len();
    }
    while pages.len() <= index {
        let sheet = &sheets[pages.len()];
        pages.push(Page {
            number: pages.len() as u32 + 1,
            label: sheet.label.clone(),
            width: sheet.width,
            height: sheet.height,
            span: Span::new(text.len(), text.len()),
            boxes: Vec::new(),
            recognised: sheet.recognised,
        });
    }
    if pages[index].span.is_empty() {
        pages[index].span = Span::new(text.len(), text.len());
    }
}

/// The kind of each paragraph, by its size against that of most text.
fn kinds(paragraphs: &[Paragraph]) -> Vec<BlockKind> {
    let length = |p: &Paragraph| p.parts.iter().map(|(_, cells)| cells.len()).sum::<usize>();
    let mut by_size: HashMap<i32, usize> = HashMap::new();
    for paragraph in paragraphs {
        *by_size
            .entry((paragraph.size * 4.0).round() as i32)
            .or_default() += length(paragraph);
    }
    let body = by_size
        .iter()
        .max_by_key(|&(size, count)| (*count, *size))
        .map_or(10.0, |(size, _)| *size as f32 / 4.0);
    let is_large = |p: &Paragraph| {
        p.size >= body * LARGER
            && p.lines <= 4
            && !p.row
            && length(p) <= HEADING
            && p.parts
                .iter()
                .flat_map(|(_, cells)| cells)
                .any(|c| c.character.is_alphabetic())
    };
    let mut sizes: Vec<f32> = paragraphs
        .iter()
        .filter(|p| is_large(p))
        .map(|p| p.size)
        .collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    sizes.dedup_by(|next, kept| *next > *kept * 0.93);
    let levels = sizes.len().min(5) as u8;
    paragraphs
        .iter()
        .map(|p| {
            if p.row {
                BlockKind::TableRow { header: false }
            } else if is_large(p) {
                let level = sizes.iter().position(|s| p.size > s * 0.93).unwrap_or(0) as u8 + 1;
                BlockKind::Heading(level.min(5))
            } else if p.bold && p.lines == 1 && p.size > body * 0.95 && is_title_like(&p.text()) {
                BlockKind::Heading(levels + 1)
            } else if p.size < body * 0.9 && p.bottom > 0.6 && begins_like_note(&p.text()) {
                BlockKind::Note
            } else {
                BlockKind::Paragraph
            }
        })
        .collect()
}

/// A bold line of some words without a full stop.
fn is_title_like(text: &str) -> bool {
    let length = text.chars().count();
    (3..=90).contains(&length)
        && !text.ends_with(['.', ',', ';', ':'])
        && text.chars().filter(|c| c.is_alphabetic()).count() * 2 > length
}

/// A number or sign, then words.
fn begins_like_note(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() != text.len() && text.len() - rest.len() <= 3;
    (numbered || text.starts_with(['*', '\u{2020}', '\u{2021}', '\u{a7}']))
        && rest
            .trim_start_matches([' ', '.', ')', '*', '\u{2020}'])
            .starts_with(char::is_alphabetic)
}

fn sections_by_headings(text: &str, blocks: &[Block]) -> Vec<Section> {
    let headings = blocks.iter().filter_map(|block| match block.kind {
        BlockKind::Heading(level) => Some((
            u16::from(level),
            text[block.span.start..block.span.end].replace('\t', " "),
            block.span.start,
            String::new(),
        )),
        _ => None,
    });
    nest(headings, text.len())
}

/// Sections from the outline: each begins at the block on its page whose words are its title, else at the first
/// block at or below its height, else where the page begins. Blocks found by their words become headings.
fn sections_by_outline(
    outline: &[Entry],
    text: &str,
    blocks: &mut [Block],
    begins: &[(usize, f32)],
    sheets: &[Sheet],
) -> Vec<Section> {
    let mut found: Vec<(u16, String, usize, String)> = Vec::new();
    let mut last = 0; // entries stand in order of the text
    for entry in outline {
        let first = begins.partition_point(|(page, _)| *page < entry.page);
        let end = begins.partition_point(|(page, _)| *page <= entry.page);
        let wanted = letters(&entry.title);
        let by_words = (first.max(last)..end).find(|&i| {
            let words = &text[blocks[i].span.start..blocks[i].span.end];
            words.len() <= HEADING + 50 && is_heading_of(&letters(words), &wanted)
        });
        let by_height = || {
            let top = entry
                .top
                .and_then(|top| Some(sheets.get(entry.page)?.height - top as f32))?;
            (first..end).find(|&i| begins[i].1 >= top - 6.0)
        };
        let index = match by_words {
            Some(index) => {
                blocks[index].kind = BlockKind::Heading((entry.depth + 1).min(6) as u8);
                index
            }
            None => by_height().unwrap_or(first).max(last),
        };
        if let Some(block) = blocks.get(index) {
            last = index;
            found.push((
                entry.depth,
                entry.title.clone(),
                block.span.start,
                String::new(),
            ));
        }
    }
    nest(found, text.len())
}

/// Letters and digits in lower case: outlines and pages differ in blanks, dashes and capitals.
fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The same words, or the same with a number ("3.2") or a word like "Chapter 3" before them.
fn is_heading_of(block: &str, title: &str) -> bool {
    title.len() >= 2
        && (block == title
            || (block.ends_with(title) && block.len() <= title.len() + 12)
            || (title.ends_with(block) && title.len() <= block.len() + 12 && block.len() >= 4))
}
