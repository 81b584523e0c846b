//! Sheets of XLSX, XLS, XLSB and ODS files: each sheet a section, each row that holds something a row.

use super::super::archive::damaged;
use super::super::builder::{DocumentBuilder, canonical};
use super::super::{Extraction, IngestFault};
use crate::document::{BlockKind, Document, DocumentKind};
use calamine::{Data, Range, Reader, Sheets, open_workbook_auto_from_rs};
use std::io::Cursor;

/// What the file is called in errors.
const FORMAT: &str = "spreadsheet";

/// Extracts a file of sheets.
pub(in crate::ingest) fn extract(extraction: &mut Extraction) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let mut book: Sheets<_> = open_workbook_auto_from_rs(Cursor::new(bytes))
        .map_err(|error| locked_or_damaged(&error))?;
    let mut builder = DocumentBuilder::new(extraction.limits().text_bytes);
    let names = book.sheet_names();
    let mut lost = Vec::new();
    for (nth, name) in names.iter().enumerate() {
        extraction.progress(0.1 + 0.8 * nth as f32 / names.len() as f32);
        // A sheet that is a chart has no cells and is no loss.
        match book.worksheet_range(name) {
            Ok(cells) => append_sheet(name, &cells, &mut builder)?,
            Err(error) => {
                tracing::debug!(%error, name, "a sheet cannot be read");
                lost.push(name.as_str());
            }
        }
    }
    let notices = match lost.as_slice() {
        [] => Vec::new(),
        lost => vec![format!(
            "Sheets that hold no cells or cannot be read: {}.",
            lost.join(", ")
        )],
    };
    let title = extraction.file_title();
    let sections = builder.sections_from_headings("");
    builder.finish(DocumentKind::Sheets, title, None, sections, notices)
}

fn locked_or_damaged(error: &calamine::Error) -> IngestFault {
    let reason = error.to_string();
    if reason.to_ascii_lowercase().contains("password") {
        return IngestFault::Locked {
            format: FORMAT.into(),
        };
    }
    damaged(FORMAT, &reason)
}

fn append_sheet(
    name: &str,
    cells: &Range<Data>,
    builder: &mut DocumentBuilder,
) -> Result<(), IngestFault> {
    let mut rows = cells
        .rows()
        .filter(|row| row.iter().any(|cell| !said(cell).is_empty()))
        .peekable();
    let Some(first) = rows.peek() else {
        return Ok(()); // an empty sheet
    };
    let name: String = name.chars().filter_map(canonical).collect();
    builder.block(BlockKind::Heading(1), &name, &[])?;
    // A first row of words only, over rows that are not, names the columns.
    let header = first
        .iter()
        .all(|cell| matches!(cell, Data::String(_) | Data::Empty));
    for (nth, row) in rows.enumerate() {
        let last = row
            .iter()
            .rposition(|cell| !said(cell).is_empty())
            .unwrap_or(0);
        let line: Vec<String> = row[..=last].iter().map(said).collect();
        let header = header && nth == 0;
        builder.block(BlockKind::TableRow { header }, &line.join("\t"), &[])?;
    }
    Ok(())
}

/// A cell in words, in one line.
fn said(cell: &Data) -> String {
    let words = match cell {
        Data::Empty => String::new(),
        Data::DateTime(moment) if moment.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            // Midnight is how a date without a time is kept, and a day before the first how a time without a date is.
            match (moment.as_f64() < 1.0, (hour, minute, second)) {
                (true, _) => format!("{hour:02}:{minute:02}:{second:02}"),
                (_, (0, 0, 0)) => date,
                _ => format!("{date} {hour:02}:{minute:02}:{second:02}"),
            }
        }
        Data::Bool(true) => "TRUE".to_owned(),
        Data::Bool(false) => "FALSE".to_owned(),
        cell => cell.to_string(),
    };
    let blanks = |c: char| if c.is_whitespace() { ' ' } else { c };
    let words: String = words.chars().filter_map(canonical).map(blanks).collect();
    words.trim().to_owned()
}
