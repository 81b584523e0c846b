//! Files of office programs to blocks: texts (DOCX, ODT), slides (PPTX, ODP), sheets (XLSX, XLS, XLSB, ODS).
//!
//! In: a container of XML parts. Out: blocks in the order in which a person reads them, with what carries meaning: which
//! lines are headings (and their printed numbers), lists, tables as rows, notes and comments after the paragraph that they hang
//! on, pictures' descriptions. Not taken over: what repeats on every page, deleted text of tracked changes, and
//! tables of contents, whose lines are the headings once more.
//!
//! Why our own readers over quick-xml: the libraries that exist either write these formats and read what they
//! wrote, or make Markdown of them, which loses notes and changes words that a citation must show as they stand.
//! Sheets are read by calamine, which knows dates, errors and shared strings of all four formats.
//!
//! XML is streamed ([`xml`](super::xml)); peak memory is that of the largest part and its text.

mod docx;
mod flow;
mod numbering;
mod odf;
mod pptx;
mod properties;
mod relations;
mod sheet;
mod styles;

pub(super) use docx::extract as extract_docx;
pub(super) use flow::{Flow, Line};
pub(super) use odf::{extract_slides as extract_odp, extract_text as extract_odt};
pub(super) use pptx::extract as extract_pptx;
pub(super) use sheet::extract as extract_sheet;
