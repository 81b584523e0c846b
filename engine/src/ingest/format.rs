//! Which format a path holds, by its first bytes and then by its name.

use super::IngestFault;
use super::code::is_source_name;
use super::mobi::is_mobi;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder of source code and text.
    Folder,
    /// The same in an archive: ZIP, TAR, TAR.GZ.
    Archive,
    /// One source file.
    SourceFile,
    /// PDF.
    Pdf,
    /// EPUB 2 or 3.
    Epub,
    /// FictionBook 2, plain or alone in a ZIP.
    Fb2,
    /// A Kindle book: MOBI, AZW, AZW3.
    Mobi,
    /// HTML or XHTML.
    Html,
    /// Markdown.
    Markdown,
    /// Plain text.
    Text,
    /// Word's DOCX.
    Docx,
    /// OpenDocument text.
    Odt,
    /// PowerPoint's PPTX.
    Pptx,
    /// OpenDocument presentation.
    Odp,
    /// Sheets: XLSX, XLSB, XLS, ODS.
    Sheets,
    /// A table as plain text: CSV and its relatives.
    Table,
    /// Rich Text Format.
    Rtf,
    /// A message or a mailbox.
    Mail,
}

/// Bytes that decide.
const HEAD: usize = 1024;

/// How the containers of Word, Excel and PowerPoint before 2007 begin, and those of later files with a password.
const OLD_OFFICE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

impl Format {
    /// The format of what lies at `path`.
    pub fn of(path: &Path) -> Result<Format, IngestFault> {
        let metadata = std::fs::metadata(path).map_err(|e| IngestFault::from_io(&e, false))?;
        if metadata.is_dir() {
            return Ok(Format::Folder);
        }
        if !metadata.is_file() {
            return Err(IngestFault::NotAFile);
        }
        let mut head = Vec::with_capacity(HEAD);
        File::open(path)
            .and_then(|file| file.take(HEAD as u64).read_to_end(&mut head))
            .map_err(|e| IngestFault::from_io(&e, true))?;
        if head.is_empty() {
            return Err(IngestFault::Empty);
        }
        Format::of_bytes(path, &head)
    }

    fn of_bytes(path: &Path, head: &[u8]) -> Result<Format, IngestFault> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        if head.windows(5).any(|w| w == b"%PDF-") {
            return Ok(Format::Pdf);
        }
        if head.get(257..262) == Some(b"ustar") || is_packed_tar(path, head) {
            return Ok(Format::Archive);
        }
        if head.starts_with(b"{\\rtf") {
            return Ok(Format::Rtf);
        }
        if is_mobi(head) {
            return Ok(Format::Mobi);
        }
        if let Some(format) = office_by_name(&extension) {
            // Word and its kin wrap a file with a password into the container of their oldest formats.
            return match head.starts_with(OLD_OFFICE) && extension != "xls" {
                true => Err(IngestFault::Locked {
                    format: "office".into(),
                }),
                false => Ok(format),
            };
        }
        if let Some(what) = foreign(head, &extension) {
            return Err(IngestFault::UnknownFormat { what: what.into() });
        }
        match extension.as_str() {
            "pdf" => return Ok(Format::Pdf),
            "epub" => return Ok(Format::Epub),
            "fb2" | "fbz" => return Ok(Format::Fb2),
            "zip" if is_packed_book(path) => return Ok(Format::Fb2),
            "html" | "htm" | "xhtml" | "xht" => return Ok(Format::Html),
            "md" | "markdown" | "mdown" | "mkd" | "mdx" | "qmd" | "rmd" => {
                return Ok(Format::Markdown);
            }
            "txt" | "text" | "asc" | "log" | "rst" | "adoc" | "asciidoc" | "org" | "tex"
            | "srt" | "vtt" => return Ok(Format::Text),
            "csv" | "tsv" | "tab" => return Ok(Format::Table),
            "eml" | "mbox" => return Ok(Format::Mail),
            _ => {}
        }
        if head.starts_with(b"PK\x03\x04") {
            return Ok(office_by_parts(head).unwrap_or(Format::Archive));
        }
        if is_source_name(path) {
            return Ok(Format::SourceFile);
        }
        let start = String::from_utf8_lossy(head)
            .trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t'])
            .to_ascii_lowercase();
        if start.starts_with("<!doctype html") || start.starts_with("<html") {
            return Ok(Format::Html);
        }
        match super::encoding::decode(head, None) {
            Ok(_) => Ok(Format::Text),
            Err(_) => Err(IngestFault::UnknownFormat {
                what: match extension.is_empty() {
                    true => "this kind of file".into(),
                    false => format!("files of type .{extension}"),
                },
            }),
        }
    }
}

/// Whether a file is, by its name, a document in its own right also where it lies in a folder of text and source.
/// Word's `~$` files, which say that a file is open, are not.
pub fn is_book(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let extension = extension.to_ascii_lowercase();
    let book = matches!(
        extension.as_str(),
        "pdf" | "epub" | "rtf" | "fb2" | "fbz" | "mobi" | "azw" | "azw3"
    ) || is_packed_book(path)
        || office_by_name(&extension).is_some();
    book && !name.starts_with("~$")
}

/// Whether an archive is, by its name, a FictionBook alone in it.
fn is_packed_book(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.to_ascii_lowercase().ends_with(".fb2.zip")
}

/// Whether a compressed file is, by its name, an archive and not one file.
fn is_packed_tar(path: &Path, head: &[u8]) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    head.starts_with(b"\x1f\x8b")
        && [".tar.gz", ".tgz", ".crate"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// The office format that a name promises.
fn office_by_name(extension: &str) -> Option<Format> {
    Some(match extension {
        "docx" | "docm" | "dotx" | "dotm" => Format::Docx,
        "odt" | "ott" => Format::Odt,
        "pptx" | "pptm" | "ppsx" | "potx" => Format::Pptx,
        "odp" | "otp" => Format::Odp,
        "xlsx" | "xlsm" | "xltx" | "xlsb" | "xls" | "ods" => Format::Sheets,
        _ => return None,
    })
}

/// What a container without a telling name holds, by what stands in its first bytes: its type, or the name of its
/// first part.
fn office_by_parts(head: &[u8]) -> Option<Format> {
    let holds = |what: &str| head.windows(what.len()).any(|w| w == what.as_bytes());
    let types = [
        ("application/epub+zip", Format::Epub),
        ("application/vnd.oasis.opendocument.text", Format::Odt),
        (
            "application/vnd.oasis.opendocument.presentation",
            Format::Odp,
        ),
        (
            "application/vnd.oasis.opendocument.spreadsheet",
            Format::Sheets,
        ),
        ("word/", Format::Docx),
        ("ppt/", Format::Pptx),
        ("xl/", Format::Sheets),
    ];
    types
        .into_iter()
        .find(|(what, _)| holds(what))
        .map(|(_, format)| format)
}

/// Whether a file of a source folder is a document, archive, picture or program rather than text.
pub(super) fn is_container(path: &Path, bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    head.starts_with(b"%PDF-")
        || head.starts_with(b"PK\x03\x04")
        || head.starts_with(b"{\\rtf")
        || is_mobi(head)
        || matches!(extension.as_str(), "fb2" | "fbz")
        || foreign(head, &extension).is_some()
}

/// Known formats that cannot be read, in the plural, for a person.
fn foreign(head: &[u8], extension: &str) -> Option<&'static str> {
    let by_name = match extension {
        "doc" | "dot" => "Word documents of before 2007",
        "ppt" | "pps" => "PowerPoint presentations of before 2007",
        "mobi" | "azw" | "azw3" | "prc" => "Kindle books of that kind",
        "djvu" | "djv" => "DjVu files",
        "pages" | "numbers" | "key" => "iWork documents",
        "msg" => "Outlook messages",
        "ps" | "eps" => "PostScript files",
        _ => "",
    };
    if !by_name.is_empty() {
        return Some(by_name);
    }
    let magic: [(&[u8], &str); 13] = [
        (OLD_OFFICE, "old Office documents"),
        (b"\x89PNG", "pictures"),
        (b"\xff\xd8\xff", "pictures"),
        (b"GIF8", "pictures"),
        (b"II*\0", "pictures"),
        (b"MM\0*", "pictures"),
        (b"ID3", "recordings"),
        (b"OggS", "recordings"),
        (b"\x1f\x8b", "compressed files"),
        (b"7z\xbc\xaf", "archives"),
        (b"Rar!", "archives"),
        (b"\x7fELF", "programs"),
        (b"SQLite format 3", "databases"),
    ];
    magic
        .iter()
        .find(|(bytes, _)| head.starts_with(bytes))
        .map(|(_, what)| *what)
}
