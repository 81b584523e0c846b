//! Parts of a zip container, unpacked one at a time, each under a limit.
//!
//! Parts are looked up by name and handed out as bytes; nothing is ever written to disk, so names that climb out of a
//! folder climb nowhere.

use super::IngestFault;
use super::encoding::decode;
use super::html::declared_encoding;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// An open container.
pub(super) struct Archive<'b> {
    zip: ZipArchive<Cursor<&'b [u8]>>,
    format: &'static str,
    limit: u64,
}

impl<'b> Archive<'b> {
    /// Opens the container; `format` names it in errors, `limit` is for the unpacked bytes of one part.
    pub fn open(
        bytes: &'b [u8],
        format: &'static str,
        limit: u64,
    ) -> Result<Archive<'b>, IngestFault> {
        match ZipArchive::new(Cursor::new(bytes)) {
            Ok(zip) => Ok(Archive { zip, format, limit }),
            Err(error) => Err(damaged(format, &error)),
        }
    }

    /// What it is called in errors.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Whether there is such a part.
    pub fn holds(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// A part's bytes; `None` if there is no such part.
    pub fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, IngestFault> {
        let part = match self.zip.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(self.format, &error)),
        };
        let mut bytes = Vec::new();
        // The size that the directory promises is not to be trusted, neither to be refused nor to be reserved.
        part.take(self.limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(self.format, &error))?;
        if bytes.len() as u64 > self.limit {
            return Err(IngestFault::Bomb { limit: self.limit });
        }
        Ok(Some(bytes))
    }

    /// A part's text, in the encoding that it declares.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, IngestFault> {
        let Some(bytes) = self.part(name)? else {
            return Ok(None);
        };
        let (text, _) = decode(&bytes, declared_encoding(&bytes)).map_err(|_| {
            damaged(
                self.format,
                &format_args!("its part {name} is not text in any known encoding"),
            )
        })?;
        Ok(Some(text))
    }

    /// The text of a part without which the file is nothing.
    pub fn needed(&mut self, name: &str) -> Result<String, IngestFault> {
        let lacking = || damaged(self.format, &format_args!("its part {name} is missing"));
        let lacking = lacking();
        self.text(name)?.ok_or(lacking)
    }
}

/// The fault of a container that breaks its own rules.
pub(super) fn damaged(format: &str, reason: &dyn std::fmt::Display) -> IngestFault {
    IngestFault::Damaged {
        format: format.into(),
        reason: reason.to_string(),
    }
}
