//! One item being extracted: what is known of it, and the way to its extractor.

use super::format::Format;
use super::recognition::RecognisedPage;
use super::sandbox::ScannedPages;
use super::{IngestError, IngestFault, Limits};
use super::{code, epub, fb2, html, mail, markdown, mobi, office, pdf, rtf, table, text};
use crate::document::Document;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// One item being extracted.
pub(crate) struct Extraction<'a> {
    path: &'a Path,
    password: Option<&'a str>,
    limits: &'a Limits,
    report: &'a mut dyn FnMut(f32),
    recognised: &'a BTreeMap<u32, Option<RecognisedPage>>,
    scanned: &'a mut ScannedPages,
}

/// Extracts an item in this process. Use [`extract`](super::extract) on files that a person adds: parsers may hang,
/// exhaust memory or overflow the stack, and here nothing holds them. `report` gets the share done, 0 to 1.
pub fn extract_here(
    path: &Path,
    password: Option<&str>,
    limits: &Limits,
    report: &mut dyn FnMut(f32),
) -> Result<Document, IngestError> {
    let (nothing, mut scanned) = (BTreeMap::new(), ScannedPages::default());
    extract_with(path, password, limits, &nothing, report, &mut scanned)
}

/// As [`extract_here`], with pages that were recognised; says which other ones could be.
pub(super) fn extract_with(
    path: &Path,
    password: Option<&str>,
    limits: &Limits,
    recognised: &BTreeMap<u32, Option<RecognisedPage>>,
    report: &mut dyn FnMut(f32),
    scanned: &mut ScannedPages,
) -> Result<Document, IngestError> {
    let mut extraction = Extraction {
        path,
        password,
        limits,
        report,
        recognised,
        scanned,
    };
    let document = extraction.run().map_err(|fault| fault.at(path))?;
    document.check().map_err(|fault| {
        IngestFault::Unsound {
            reason: fault.to_string(),
        }
        .at(path)
    })?;
    Ok(document)
}

impl<'a> Extraction<'a> {
    fn run(&mut self) -> Result<Document, IngestFault> {
        match Format::of(self.path)? {
            Format::Folder => code::extract_folder(self),
            Format::Archive => code::extract_archive(self),
            Format::SourceFile => code::extract_file(self),
            Format::Pdf => pdf::extract(self),
            Format::Epub => epub::extract(self),
            Format::Fb2 => fb2::extract(self),
            Format::Mobi => mobi::extract(self),
            Format::Html => html::extract(self),
            Format::Markdown => markdown::extract(self),
            Format::Text => text::extract(self),
            Format::Docx => office::extract_docx(self),
            Format::Odt => office::extract_odt(self),
            Format::Pptx => office::extract_pptx(self),
            Format::Odp => office::extract_odp(self),
            Format::Sheets => office::extract_sheet(self),
            Format::Table => table::extract(self),
            Format::Rtf => rtf::extract(self),
            Format::Mail => mail::extract(self),
        }
    }

    pub fn path(&self) -> &Path {
        self.path
    }

    pub fn password(&self) -> Option<&str> {
        self.password
    }

    pub fn limits(&self) -> &Limits {
        self.limits
    }

    /// What was recognised of scanned pages, by index; nothing where that failed.
    pub fn recognised(&self) -> &'a BTreeMap<u32, Option<RecognisedPage>> {
        self.recognised
    }

    /// Says which pages could be recognised.
    pub fn set_scanned(&mut self, scanned: ScannedPages) {
        *self.scanned = scanned;
    }

    /// Says how far it is, 0 to 1.
    pub fn progress(&mut self, fraction: f32) {
        (self.report)(fraction.clamp(0.0, 1.0));
    }

    /// Title of last resort: the file name without extension.
    pub fn file_title(&self) -> String {
        let name = self
            .path
            .file_stem()
            .or(self.path.file_name())
            .unwrap_or(self.path.as_os_str());
        let name: String = name
            .to_string_lossy()
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        name.trim().to_owned()
    }

    /// The bytes of a text-like file.
    pub fn read_plain(&self) -> Result<Vec<u8>, IngestFault> {
        read_file(self.path, self.limits.plain_file_bytes())
    }

    /// The bytes of a PDF, an EPUB or an office file.
    pub fn read_container(&self) -> Result<Vec<u8>, IngestFault> {
        read_file(self.path, self.limits.container_bytes)
    }
}

/// A file's bytes; its size is looked at before anything is read, and never more than the limit is.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, IngestFault> {
    let io = |opened| move |error: std::io::Error| IngestFault::from_io(&error, opened);
    let file = File::open(path).map_err(io(true))?;
    let size = file.metadata().map_err(io(true))?.len();
    if size > limit {
        return Err(IngestFault::TooLarge { bytes: size, limit });
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(io(true))?;
    if bytes.is_empty() {
        return Err(IngestFault::Empty);
    }
    if bytes.len() as u64 > limit {
        return Err(IngestFault::TooLarge {
            bytes: bytes.len() as u64,
            limit,
        });
    }
    Ok(bytes)
}
