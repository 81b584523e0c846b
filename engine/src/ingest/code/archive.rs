//! Source code in an archive (ZIP, TAR, TAR.GZ): read as the folder that it would unpack to, without unpacking it.
//!
//! Nothing is written to disk, so a path that climbs out of the archive climbs nowhere; links are not followed. Unlike
//! in a folder no `.gitignore` counts: who made the archive chose what is in it.

use super::Collection;
use super::left_out::{LeftOut, Reason};
use super::names::{is_foreign_folder, is_tool_file};
use crate::document::Document;
use crate::ingest::{Extraction, IngestFault};
use flate2::read::GzDecoder;
use std::io::{Cursor, Read};
use std::path::Path;

/// How a compressed TAR begins.
const GZIP: &[u8] = b"\x1f\x8b";

/// A file of an archive.
struct Packed {
    relative: String,
    bytes: Vec<u8>,
}

/// Extracts an archive of source and text files.
pub(in crate::ingest) fn extract_archive(
    extraction: &mut Extraction,
) -> Result<Document, IngestFault> {
    let bytes = extraction.read_container()?;
    let mut unpacking = Unpacking {
        source_bytes: extraction.limits().source_bytes,
        budget: extraction.limits().container_bytes,
        limit: extraction.limits().container_bytes,
        files: Vec::new(),
        left_out: LeftOut::default(),
    };
    if bytes.starts_with(b"PK") {
        unpacking.zip(&bytes)?;
    } else if bytes.starts_with(GZIP) {
        unpacking.tar(GzDecoder::new(bytes.as_slice()))?;
    } else {
        unpacking.tar(bytes.as_slice())?;
    }
    drop(bytes);
    extraction.progress(0.5);
    let Unpacking {
        mut files,
        left_out,
        ..
    } = unpacking;
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    let common = common_folder(&files);
    let mut collection = Collection::new(extraction.limits(), left_out);
    for file in &files {
        let relative = &file.relative[common..];
        collection.take(relative, Path::new(relative), &file.bytes)?;
    }
    let title = extraction.file_title();
    let title = title.strip_suffix(".tar").unwrap_or(&title).to_owned();
    collection.finish(title, "archive")
}

/// The files of an archive that are worth reading.
struct Unpacking {
    source_bytes: u64,
    /// Bytes that may still be unpacked, and how many could at first.
    budget: u64,
    limit: u64,
    files: Vec<Packed>,
    left_out: LeftOut,
}

impl Unpacking {
    fn zip(&mut self, bytes: &[u8]) -> Result<(), IngestFault> {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
        for index in 0..archive.len() {
            let Ok(entry) = archive.by_index(index) else {
                self.left_out.note(Reason::Unreadable, ""); // a method we do not know, or a password
                continue;
            };
            let Ok(name) = entry.name().map(|name| name.to_string()) else {
                self.left_out.note(Reason::Unreadable, "");
                continue;
            };
            if entry.is_symlink() {
                self.left_out.note(Reason::Link, &name);
            } else if entry.is_file() {
                self.take(&name, entry.size(), entry)?;
            }
        }
        Ok(())
    }

    fn tar(&mut self, stream: impl Read) -> Result<(), IngestFault> {
        // What is passed over is unpacked all the same.
        let mut archive = tar::Archive::new(stream.take(self.limit));
        for entry in archive.entries().map_err(|e| damaged(&e))? {
            let entry = entry.map_err(|e| damaged(&e))?;
            let kind = entry.header().entry_type();
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if kind.is_symlink() || kind.is_hard_link() {
                self.left_out.note(Reason::Link, &name);
            } else if kind.is_file() {
                self.take(&name, entry.size(), entry)?;
            }
        }
        Ok(())
    }

    /// Reads a file, unless its name says that it is not worth it.
    fn take(&mut self, name: &str, size: u64, content: impl Read) -> Result<(), IngestFault> {
        let parts: Vec<&str> = name
            .split(['/', '\\'])
            .filter(|part| !matches!(*part, "" | "." | ".."))
            .collect();
        let Some((file, folders)) = parts.split_last() else {
            return Ok(());
        };
        if parts.iter().any(|part| part.starts_with('.')) {
            return Ok(()); // hidden files are not counted in a folder either
        }
        let relative = parts.join("/");
        if let Some(at) = folders.iter().position(|folder| is_foreign_folder(folder)) {
            self.left_out
                .note_once(Reason::ForeignFolder, &parts[..=at].join("/"));
        } else if is_tool_file(file) {
            self.left_out.note(Reason::ToolFile, &relative);
        } else if size > self.source_bytes {
            self.left_out.note(Reason::Large, &relative);
        } else {
            let mut bytes = Vec::new();
            let most = self.source_bytes.min(self.budget) + 1;
            if content.take(most).read_to_end(&mut bytes).is_err() {
                self.left_out.note(Reason::Unreadable, &relative);
                return Ok(());
            }
            // More than its directory promised, or more files than any honest archive holds.
            if bytes.len() as u64 == most {
                return Err(IngestFault::Bomb { limit: self.limit });
            }
            self.budget -= bytes.len() as u64;
            self.files.push(Packed { relative, bytes });
        }
        Ok(())
    }
}

/// Bytes of the folder that all files lie in, with its slash: archives of source usually have one.
fn common_folder(files: &[Packed]) -> usize {
    let Some(first) = files.first() else {
        return 0;
    };
    let Some(folder) = first
        .relative
        .split_inclusive('/')
        .next()
        .filter(|f| f.ends_with('/'))
    else {
        return 0;
    };
    let inside = |file: &Packed| file.relative.starts_with(folder);
    if files.iter().all(inside) {
        folder.len()
    } else {
        0
    }
}

fn damaged(reason: &dyn std::fmt::Display) -> IngestFault {
    IngestFault::Damaged {
        format: "archive".into(),
        reason: reason.to_string(),
    }
}
