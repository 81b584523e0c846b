//! Kindle books (MOBI, AZW, AZW3) to blocks: the chapters through `html`, sections from their headings.
//!
//! In: a Palm database whose records hold the text, compressed 4,096 bytes at a time. The layout as the MobileRead wiki
//! (MOBI, PDB, PalmDOC) and KindleUnpack have it. A reader of our own, since the one library with a permissive licence
//! cuts characters that two records share, leaves bytes behind each record in the text, and prints to standard output.
//!
//! Two generations share the container. MOBI 6 is one page of HTML. KF8 (AZW3) is one page a part, what goes into it
//! directly behind it, so the words stand in their order though not in their elements; behind the last page stand style
//! sheets, which a table of flows tells apart. A file that holds both is read as the first. Pictures are left out, their
//! descriptions stay. Text that Amazon's tool compressed most (HUFF/CDIC) is refused with that reason, and so is what is
//! encrypted.

use super::builder::DocumentBuilder;
use super::encoding::decode;
use super::html::{append_page, expand_empty_elements, one_line};
use super::{Extraction, IngestFault};
use crate::document::{Document, DocumentKind};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

/// In errors.
const FORMAT: &str = "Kindle";

/// Type and creator of the database, where they stand in the file.
const SIGNATURE: (usize, &[u8]) = (60, b"BOOKMOBI");

/// Whether a file begins like one of these.
pub(super) fn is_mobi(head: &[u8]) -> bool {
    let (at, signature) = SIGNATURE;
    head.get(at..at + signature.len()) == Some(signature)
}

/// Extracts a Kindle book.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let records = Records::of(&bytes).ok_or_else(|| damaged("its records do not lie within it"))?;
    let header = Header::of(records.get(0)?)?;
    let mut text = header.text(&records, extraction.limits().part_bytes)?;
    if let Some(end) = header.end_of_pages(&records) {
        text.truncate(end);
    }
    extraction.progress(0.3);
    let (text, _) = decode(&text, Some(header.encoding))?;
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let pages = pages(&text);
    for (nth, page) in pages.iter().enumerate() {
        let page = with_headings(page);
        append_page(&mut builder, &expand_empty_elements(&page))?;
        extraction.progress(0.3 + 0.6 * nth as f32 / pages.len() as f32);
    }
    let title = one_line(&header.title)
        .or_else(|| builder.first_heading())
        .unwrap_or_else(|| extraction.file_title());
    let authors: Vec<String> = header.authors.iter().filter_map(|a| one_line(a)).collect();
    let authors = (!authors.is_empty()).then(|| authors.join(", "));
    let sections = builder.sections_from_headings("");
    builder.finish(DocumentKind::Html, title, authors, sections, Vec::new())
}

fn damaged(reason: &str) -> IngestFault {
    IngestFault::Damaged {
        format: FORMAT.into(),
        reason: reason.into(),
    }
}

/// Each page with what belongs to it.
fn pages(text: &str) -> Vec<&str> {
    let starts = text.match_indices("<html").map(|(at, _)| at).skip(1);
    let mut pages = Vec::new();
    let mut from = 0;
    for start in starts.chain([text.len()]) {
        pages.push(&text[from..start]);
        from = start;
    }
    pages
}

/// MOBI 6 knows no styles, so tools that make it write headings as paragraphs in large bold letters: those become
/// headings again. 3 is the size of the text.
fn with_headings(page: &str) -> Cow<'_, str> {
    #[expect(clippy::unwrap_used, reason = "a pattern that does not change")]
    static LARGE: LazyLock<Regex> = LazyLock::new(|| {
        let inline = r"[^<]|</?(?:a|b|br|i|small|span|sub|sup|u)\b[^>]*>";
        let begin = r#"<p\b[^>]*>(?:<a\b[^>]*></a>)*<font size="([4-7])"><b>"#;
        Regex::new(&format!("{begin}((?:{inline})*?)</b></font></p>")).unwrap()
    });
    LARGE.replace_all(page, |found: &Captures<'_>| {
        let level = match &found[1] {
            "7" => 1,
            "4" => 3,
            _ => 2,
        };
        format!("<h{level}>{}</h{level}>", &found[2])
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

/// As an index or a length.
fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    u32_at(bytes, at).map(|size| size as usize)
}

/// The records of a Palm database.
struct Records<'a> {
    bytes: &'a [u8],
    /// Where each begins, and the last ends.
    bounds: Vec<usize>,
}

impl<'a> Records<'a> {
    /// `None` if they do not lie one behind the other within `bytes`.
    fn of(bytes: &'a [u8]) -> Option<Records<'a>> {
        let count = usize::from(u16_at(bytes, 76)?);
        let mut bounds = Vec::with_capacity(count + 1);
        for nth in 0..count {
            bounds.push(size_at(bytes, 78 + 8 * nth)?);
        }
        bounds.push(bytes.len());
        bounds.is_sorted().then_some(Records { bytes, bounds })
    }

    fn get(&self, nth: usize) -> Result<&'a [u8], IngestFault> {
        let bounds = self.bounds.get(nth..=nth.saturating_add(1));
        let bounds = bounds.filter(|bounds| bounds.len() == 2);
        let bounds = bounds.ok_or_else(|| damaged("a record is missing"))?;
        Ok(&self.bytes[bounds[0]..bounds[1]])
    }
}

/// What record 0 says.
struct Header {
    is_compressed: bool,
    /// Records of text, from 1 on.
    text_records: usize,
    encoding: &'static Encoding,
    /// What stands behind the text of each record: a bit for each entry that ends with its own size, and the lowest for
    /// the rest of a character that began in it.
    trailing: u16,
    /// Record with the table of flows, in KF8.
    flows: Option<usize>,
    title: String,
    authors: Vec<String>,
}

impl Header {
    fn of(record: &[u8]) -> Result<Header, IngestFault> {
        let short = || damaged("its header is cut off");
        let compression = u16_at(record, 0).ok_or_else(short)?;
        match u16_at(record, 12).ok_or_else(short)? {
            0 => {}
            _ => return Err(IngestFault::Drm),
        }
        let is_compressed = match compression {
            1 => false,
            2 => true,
            17_480 => {
                return Err(IngestFault::UnknownFormat {
                    what: "Kindle books compressed with HUFF/CDIC".into(),
                });
            }
            other => {
                return Err(damaged(&format!("its text is compressed in way {other}")));
            }
        };
        if record.get(16..20) != Some(b"MOBI") {
            return Err(damaged("its header is missing"));
        }
        let length = size_at(record, 20).ok_or_else(short)?;
        let encoding = match u32_at(record, 28).ok_or_else(short)? {
            1252 => WINDOWS_1252,
            _ => UTF_8,
        };
        let words = |bytes: &[u8]| encoding.decode_without_bom_handling(bytes).0.into_owned();
        let full_name = || {
            let at = size_at(record, 84)?;
            record.get(at..at.checked_add(size_at(record, 88)?)?)
        };
        let mut header = Header {
            is_compressed,
            text_records: usize::from(u16_at(record, 8).ok_or_else(short)?),
            encoding,
            trailing: if length >= 0xe4 {
                u16_at(record, 0xf2).unwrap_or(0)
            } else {
                0
            },
            flows: (u32_at(record, 36) == Some(8))
                .then(|| size_at(record, 0xc0))
                .flatten(),
            title: full_name().map(words).unwrap_or_default(),
            authors: Vec::new(),
        };
        let has_more = u32_at(record, 0x80).is_some_and(|flags| flags & 0x40 != 0);
        if let Some(more) = record.get(16 + length..).filter(|_| has_more) {
            header.take_more(more, &words);
        }
        Ok(header)
    }

    /// Reads the extended header: author and, where it is there, the title as it was meant to be shown.
    fn take_more(&mut self, more: &[u8], words: &dyn Fn(&[u8]) -> String) {
        if !more.starts_with(b"EXTH") {
            return;
        }
        let mut at = 12;
        for _ in 0..u32_at(more, 8).unwrap_or(0) {
            let (Some(kind), Some(size)) = (u32_at(more, at), size_at(more, at + 4)) else {
                return;
            };
            let end = at.saturating_add(size);
            let Some(data) = more.get(at + 8..end) else {
                return;
            };
            match kind {
                100 => self.authors.push(words(data)),
                503 => self.title = words(data),
                _ => {}
            }
            at = end;
        }
    }

    /// The text of all records, at most `limit` bytes.
    fn text(&self, records: &Records<'_>, limit: u64) -> Result<Vec<u8>, IngestFault> {
        let mut text = Vec::new();
        for nth in 1..=self.text_records {
            let record = records.get(nth)?;
            let packed = &record[..record.len() - trailing_bytes(record, self.trailing)];
            if self.is_compressed {
                unpack(packed, &mut text);
            } else {
                text.extend_from_slice(packed);
            }
            if text.len() as u64 > limit {
                return Err(IngestFault::Bomb { limit });
            }
        }
        Ok(text)
    }

    /// Where the pages of a KF8 book end and its style sheets begin.
    fn end_of_pages(&self, records: &Records<'_>) -> Option<usize> {
        let table = records.get(self.flows?).ok()?;
        // Its own offset of the flows, their number, and of each where it begins and ends.
        let first = size_at(table, 4).filter(|_| table.starts_with(b"FDST"))?;
        size_at(table, first.checked_add(4)?)
    }
}

/// Bytes behind the text of a record; all of it if they are more than that.
fn trailing_bytes(record: &[u8], trailing: u16) -> usize {
    let mut bytes: usize = 0;
    for _ in 0..(trailing >> 1).count_ones() {
        // Its size is the last thing of an entry, seven bits a byte, the first of them with the highest bit set.
        let rest = &record[..record.len().saturating_sub(bytes)];
        let mut size = 0;
        for byte in &rest[rest.len().saturating_sub(4)..] {
            if byte & 0x80 != 0 {
                size = 0;
            }
            size = size << 7 | usize::from(byte & 0x7f);
        }
        bytes = bytes.saturating_add(size);
    }
    if trailing & 1 != 0 && bytes < record.len() {
        bytes += usize::from(record[record.len() - bytes - 1] & 3) + 1;
    }
    bytes.min(record.len())
}

/// Unpacks a record of PalmDOC's LZ77 behind what was unpacked before, of which it repeats nothing.
fn unpack(packed: &[u8], text: &mut Vec<u8>) {
    let begin = text.len();
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            0 | 9..=0x7f => text.push(byte),
            1..=8 => text.extend(bytes.by_ref().take(usize::from(byte))),
            0xc0.. => text.extend([b' ', byte ^ 0x80]),
            0x80..=0xbf => {
                let pair = u16::from_be_bytes([byte & 0x3f, bytes.next().unwrap_or(0)]);
                let (back, count) = (usize::from(pair >> 3), usize::from(pair & 7) + 3);
                // A distance that leads before the record is damage; its words are left out.
                if back == 0 || back > text.len() - begin {
                    continue;
                }
                for _ in 0..count {
                    text.push(text[text.len() - back]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_may_overlap_themselves() {
        let mut text = b"before".to_vec();
        // "ab", then 5 bytes from 2 back, a blank with "c", 3 bytes as they are, and a distance beyond the record.
        let pair = |back: u16, count: u16| (0x8000 | back << 3 | (count - 3)).to_be_bytes();
        let mut packed = b"ab".to_vec();
        packed.extend(pair(2, 5));
        packed.extend([b'c' ^ 0x80, 3, 0x81, 0x82, 0x83]);
        packed.extend(pair(200, 4));
        packed.push(b'!');
        unpack(&packed, &mut text);
        assert_eq!(text, b"beforeabababa c\x81\x82\x83!");
    }

    #[test]
    fn large_bold_paragraphs_are_headings() {
        let page = r#"<p align="center"><a id="x"></a><font size="5"><b>Of <i>Whales</i></b></font></p><p><font size="7"><b>T</b></font>he</p>"#;
        let expected = r#"<h2>Of <i>Whales</i></h2><p><font size="7"><b>T</b></font>he</p>"#;
        assert_eq!(with_headings(page), expected);
        assert!(matches!(
            with_headings("<p><b>bold</b></p>"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn what_stands_behind_a_record_is_told() {
        // Two bytes of a character that began before, then an entry of three bytes with its size, then one of two.
        let record = [b'x', 0xa9, 1, 7, 7, 0x83, 9, 0x82];
        assert_eq!(trailing_bytes(&record, 0), 0);
        assert_eq!(trailing_bytes(&record, 0b10), 2);
        assert_eq!(trailing_bytes(&record, 0b110), 5);
        assert_eq!(trailing_bytes(&record, 0b111), 7);
        assert_eq!(trailing_bytes(&[0xff], 0b111), 1);
        assert_eq!(trailing_bytes(&[], 0b111), 0);
    }

    #[test]
    fn damaged_files_are_refused_and_nothing_panics() {
        assert!(Records::of(&[0; 77]).is_none());
        let mut bytes = vec![0; 78 + 16];
        bytes[77] = 2;
        bytes[78 + 3] = 90;
        bytes[78 + 8 + 3] = 80;
        assert!(Records::of(&bytes).is_none(), "records do not go back");
        bytes[78 + 8 + 3] = 92;
        let records = Records::of(&bytes);
        let records = records.as_ref();
        assert!(records.is_some_and(|records| records.get(1).is_ok_and(|r| r.len() == 2)));
        assert!(records.is_some_and(|records| records.get(2).is_err()));
        for length in 0..300 {
            let record: Vec<u8> = (0..length).map(|at| (at % 3) as u8).collect();
            let _ = Header::of(&record);
        }
    }
}
