//! Tables in plain text (CSV and its relatives): each record a row.

use super::builder::{DocumentBuilder, canonical};
use super::encoding::decode;
use super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind};

/// Bytes of whole lines that show what separates the fields.
const SAMPLE: usize = 16 << 10;

/// Extracts a CSV file, whatever separates its fields.
pub(super) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let (text, _) = decode(&extraction.read_plain()?, None)?;
    extraction.progress(0.2);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(&text))
        .from_reader(text.as_bytes());
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let mut record = csv::StringRecord::new();
    let mut broken = 0;
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {
                // Only the first line can name the columns; one with numbers in it does not.
                let header = builder.blocks().is_empty() && record.iter().all(is_name);
                let fields: Vec<String> = record.iter().map(one_line).collect();
                let line = fields.join("\t");
                builder.block(BlockKind::TableRow { header }, line.trim_end(), &[])?;
            }
            Ok(false) => break,
            Err(_) => broken += 1,
        }
    }
    let notices = match broken {
        0 => Vec::new(),
        n => vec![format!("{n} lines are no records and were left out.")],
    };
    let title = extraction.file_title();
    builder.finish(DocumentKind::Sheets, title, None, Vec::new(), notices)
}

/// A field in one line.
fn one_line(field: &str) -> String {
    let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
    let words: String = field.chars().filter_map(canonical).map(blank).collect();
    words.trim().to_owned()
}

fn is_name(field: &str) -> bool {
    let field = field.trim();
    !field.is_empty() && field.parse::<f64>().is_err()
}

/// What separates fields: the candidate that cuts the first lines into the same number of fields, of those the one
/// that cuts into most.
fn delimiter(text: &str) -> u8 {
    let sample = match text.floor_char_boundary(SAMPLE) {
        end if end < text.len() => &text[..text[..end].rfind('\n').unwrap_or(end)],
        _ => text,
    };
    let score = |delimiter: &u8| {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(*delimiter)
            .from_reader(sample.as_bytes());
        let mut fields: Vec<usize> = reader.records().flatten().map(|r| r.len()).collect();
        fields.sort_unstable();
        let usual = fields.get(fields.len() / 2).copied().unwrap_or(1);
        let alike = fields.iter().filter(|count| **count == usual).count();
        match usual {
            0 | 1 => (0, 0),
            _ => (alike * 100 / fields.len().max(1), usual),
        }
    };
    // The first of equals: a comma, where nothing says otherwise.
    let candidates = [b'|', b'\t', b';', b','];
    candidates.into_iter().max_by_key(score).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_what_cuts_evenly() {
        assert_eq!(delimiter("a,b,c\n1,2,3\n"), b',');
        assert_eq!(delimiter("a;b\n1,5;2,5\n3,0;4,1\n"), b';');
        assert_eq!(delimiter("a\tb, the second\n1\t2\n"), b'\t');
        assert_eq!(delimiter("a|b\n\"x|y\"|2\n"), b'|');
        assert_eq!(delimiter("one column\nonly\n"), b',');
    }
}
