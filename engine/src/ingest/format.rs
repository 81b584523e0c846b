//! Which format a path holds, by its first bytes and then by its name.

use super::IngestFault;
use super::code::is_source_name;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder of source code and text.
    Folder,
    /// One source file.
    SourceFile,
    /// PDF.
    Pdf,
    /// EPUB 2 or 3.
    Epub,
    /// HTML or XHTML.
    Html,
    /// Markdown.
    Markdown,
    /// Plain text.
    Text,
}

/// Bytes that decide.
const HEAD: usize = 1024;

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
        if let Some(what) = foreign(head, &extension) {
            return Err(IngestFault::UnknownFormat { what: what.into() });
        }
        match extension.as_str() {
            "pdf" => return Ok(Format::Pdf),
            "epub" => return Ok(Format::Epub),
            "html" | "htm" | "xhtml" | "xht" => return Ok(Format::Html),
            "md" | "markdown" | "mdown" | "mkd" | "mdx" | "qmd" | "rmd" => {
                return Ok(Format::Markdown);
            }
            "txt" | "text" | "asc" | "log" | "rst" | "adoc" | "asciidoc" | "org" | "tex"
            | "eml" | "srt" | "vtt" => return Ok(Format::Text),
            _ => {}
        }
        if head.starts_with(b"PK\x03\x04") {
            let epub = head.windows(20).any(|w| w == b"application/epub+zip");
            return match epub {
                true => Ok(Format::Epub),
                false => Err(IngestFault::UnknownFormat {
                    what: "archives".into(),
                }),
            };
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

/// Whether a file of a source folder is a document, archive, picture or program rather than text.
pub(super) fn is_container(path: &Path, bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let extension = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    head.starts_with(b"%PDF-")
        || head.starts_with(b"PK\x03\x04")
        || foreign(head, &extension).is_some()
}

/// Known formats that cannot be read, in the plural, for a person.
fn foreign(head: &[u8], extension: &str) -> Option<&'static str> {
    let by_name = match extension {
        "docx" | "doc" | "docm" | "dotx" => "Word documents",
        "pptx" | "ppt" | "pptm" => "PowerPoint presentations",
        "xlsx" | "xls" | "xlsm" | "ods" => "spreadsheets",
        "odt" | "ott" => "OpenDocument texts",
        "odp" => "OpenDocument presentations",
        "rtf" => "RTF documents",
        "mobi" | "azw" | "azw3" | "prc" => "Kindle books",
        "fb2" => "FictionBook files",
        "djvu" | "djv" => "DjVu files",
        "pages" | "numbers" | "key" => "iWork documents",
        "msg" => "Outlook messages",
        "ps" | "eps" => "PostScript files",
        _ => "",
    };
    if !by_name.is_empty() {
        return Some(by_name);
    }
    let magic: [(&[u8], &str); 14] = [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office documents"),
        (b"{\\rtf", "RTF documents"),
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
