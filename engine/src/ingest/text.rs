//! Plain text to paragraphs.
//!
//! Paragraphs end at blank lines. Lines inside a paragraph keep their ends (verse, addresses and tables need them,
//! and the words stay where they were); the viewer wraps them. Chapters are recognised only where the text says
//! "Chapter", "Part" and the like with a number, on a line of its own.

use super::builder::{DocumentBuilder, canonical, nest};
use super::encoding::decode;
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind, Section};

/// Longest line that may be a chapter heading, in characters.
const HEADING: usize = 90;

/// Extracts a text file in any encoding.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let (text, _) = decode(&extraction.read_plain()?, None)?;
    extraction.progress(0.3);
    let text: String = text.chars().filter_map(canonical).collect();
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        let line = line.trim_end();
        if !line.is_empty() {
            paragraph.push_str(line);
            paragraph.push('\n');
        } else if !paragraph.is_empty() {
            builder.block(kind_of(&paragraph), &paragraph, &[])?;
            paragraph.clear();
        }
    }
    let sections = chapters(&builder);
    let title = named_title(builder.text()).unwrap_or_else(|| extraction.file_title());
    builder.finish(DocumentKind::Text, title, None, sections, Vec::new())
}

/// "Title: ..." as Project Gutenberg and RFC-like headers write it, among the first lines.
fn named_title(text: &str) -> Option<String> {
    let line = text
        .lines()
        .take(40)
        .find_map(|line| line.strip_prefix("Title:"))?;
    super::html::one_line(line)
}

fn kind_of(paragraph: &str) -> BlockKind {
    if let Some(level) = heading_level(paragraph) {
        return BlockKind::Heading(level);
    }
    let lines = paragraph.lines().count();
    let set_by_hand = paragraph
        .lines()
        .filter(|line| line.starts_with([' ', '\t']) || line.trim().contains("   "))
        .count();
    if lines >= 2 && set_by_hand * 2 > lines {
        BlockKind::Preformatted { first_line: 1 }
    } else {
        BlockKind::Paragraph
    }
}

/// 1 for parts and books, 2 for chapters, if the paragraph is such a heading: one line, or two of which the first
/// is nothing but the number ("CHAPTER I" over its title). More lines are a table of contents.
fn heading_level(paragraph: &str) -> Option<u8> {
    let mut lines = paragraph.lines().map(str::trim);
    let (first, second) = (lines.next()?, lines.next());
    if lines.next().is_some() || first.chars().count() > HEADING {
        return None;
    }
    let (level, rest) = numbered(first)?;
    let title = rest.trim_start_matches(['.', ':', ' ', '-', '\u{2014}', '\u{2013}', ')']);
    match second {
        Some(second) => (title.is_empty() && numbered(second).is_none()).then_some(level),
        // "Chapter 3 of the report says that ..." is a sentence.
        None => {
            let separated = !rest.starts_with(' ') || !title.starts_with(char::is_lowercase);
            (title.is_empty() || separated && !title.ends_with([',', ';'])).then_some(level)
        }
    }
}

/// Splits "CHAPTER IV. The Title" into its level and what follows the number.
fn numbered(line: &str) -> Option<(u8, &str)> {
    const KEYWORDS: [(&str, u8); 12] = [
        ("part", 1),
        ("book", 1),
        ("volume", 1),
        ("act", 1),
        ("teil", 1),
        ("partie", 1),
        ("chapter", 2),
        ("scene", 2),
        ("letter", 2),
        ("kapitel", 2),
        ("chapitre", 2),
        ("cap\u{ed}tulo", 2),
    ];
    if let Some(level) = chinese_numbered(line) {
        return Some(level);
    }
    let (word, rest) = line.split_once(' ')?;
    let lower = word.to_lowercase();
    let (_, level) = KEYWORDS.iter().find(|(keyword, _)| *keyword == lower)?;
    // "chapter ii" inside a sentence begins in lower case.
    if !word.starts_with(char::is_uppercase) {
        return None;
    }
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '-')
        .unwrap_or(rest.len());
    is_number(&rest[..end]).then(|| (*level, &rest[end..]))
}

fn is_number(word: &str) -> bool {
    const WORDS: [&str; 21] = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "first",
    ];
    let digits = !word.is_empty() && word.len() <= 4 && word.bytes().all(|b| b.is_ascii_digit());
    let roman = !word.is_empty()
        && word
            .bytes()
            .all(|b| b"IVXLC".contains(&b.to_ascii_uppercase()))
        && (word == word.to_uppercase() || word == word.to_lowercase());
    let lower = word.to_lowercase();
    let spelled = lower
        .split('-')
        .next()
        .is_some_and(|w| WORDS.contains(&w) || ["thirty", "forty", "fifty"].contains(&w));
    digits || roman || spelled
}

/// "第十二章 ..." (chapter twelve), "第一部", "第3卷".
fn chinese_numbered(line: &str) -> Option<(u8, &str)> {
    let rest = line.strip_prefix('第')?;
    let end =
        rest.find(|c: char| !("零〇一二三四五六七八九十百千两".contains(c) || c.is_ascii_digit()))?;
    let unit = rest[end..].chars().next().filter(|_| end > 0)?;
    let level = match unit {
        '部' | '卷' | '篇' => 1,
        '章' | '回' | '节' | '節' | '話' => 2,
        _ => return None,
    };
    Some((level, &rest[end + unit.len_utf8()..]))
}

/// Sections from the chapter headings. A heading with no words before the next one is a line of the table of
/// contents, unless what follows is of a lower level ("PART I", then "Chapter 1").
fn chapters(builder: &DocumentBuilder) -> Vec<Section> {
    let blocks = builder.blocks();
    let headings = blocks.iter().enumerate().filter_map(|(index, block)| {
        let BlockKind::Heading(level) = block.kind else {
            return None;
        };
        let listed = match blocks.get(index + 1).map(|next| next.kind) {
            Some(BlockKind::Heading(next)) => next <= level,
            Some(_) => false,
            None => true,
        };
        let title = builder.text()[block.span.start..block.span.end]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        (!listed).then(|| (u16::from(level), title, block.span.start, String::new()))
    });
    nest(headings, builder.text().len() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn chapter_headings_are_told_from_sentences_and_contents() {
        let cases = [
            ("CHAPTER I", Some(2)),
            ("CHAPTER I.\nDown the Rabbit-Hole", Some(2)),
            ("Chapter 12: The End", Some(2)),
            ("Chapter Twenty-One", Some(2)),
            ("PART II", Some(1)),
            ("Book the first", None),
            ("ACT III", Some(1)),
            ("第十二章 長い夜", Some(2)),
            ("第一部", Some(1)),
            ("CHAPTER I. One\nCHAPTER II. Two", None),
            ("CHAPTER I\nOne\nCHAPTER II\nTwo", None),
            ("Chapter 3 of the report says that nothing is known.", None),
            ("Part of the ship", None),
            ("chapter ii", None),
            ("Act now", None),
        ];
        for (paragraph, level) in cases {
            assert_eq!(heading_level(paragraph), level, "{paragraph}");
        }
    }
}
