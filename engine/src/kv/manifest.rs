//! `manifest.json`: whose cache a folder holds.

use super::{CacheIdentity, KvError, KvShape};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

pub(super) const FILE_NAME: &str = "manifest.json";

/// Version of the folder's layout and of [`super::header`].
const LAYOUT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    layout: u32,
    pub(super) identity: CacheIdentity,
    shape: KvShape,
    /// Name of the format, for people.
    format_name: String,
    /// How much of what can be left out was to be kept when it was last made smaller, in hundredths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept_percent: Option<u32>,
}

impl Manifest {
    pub(super) fn new(identity: CacheIdentity, shape: KvShape, format_name: &str) -> Manifest {
        Manifest {
            layout: LAYOUT,
            identity,
            shape,
            format_name: format_name.to_owned(),
            kept_percent: None,
        }
    }

    /// Reads a folder's manifest; `None` if it has none or an unreadable one.
    ///
    /// That is no loss: the identity's hash stands in every block as well, so the manifest can be written anew and
    /// blocks of something else are still refused.
    pub(super) fn read(folder: &Path) -> Result<Option<Manifest>, KvError> {
        let path = folder.join(FILE_NAME);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KvError::io(path, "read")(error)),
        }
    }

    /// Refuses a folder that holds something other than `self` describes.
    pub(super) fn compare(&self, found: &Manifest, folder: &Path) -> Result<(), KvError> {
        let difference = if found.layout != self.layout {
            Some("another version of Lectern")
        } else if let Some(difference) = self.identity.difference(&found.identity) {
            Some(difference)
        } else if found.shape != self.shape {
            Some("a model of another shape")
        } else {
            None
        };
        match difference {
            None => Ok(()),
            Some(difference) => Err(KvError::OtherIdentity {
                path: folder.to_owned(),
                difference,
            }),
        }
    }

    /// Writes it under a temporary name, makes it durable and renames it into place.
    pub(super) fn write(&self, folder: &Path) -> Result<(), KvError> {
        let path = folder.join(FILE_NAME);
        let new = folder.join("manifest.json.new");
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| KvError::io(&path, "write")(error.into()))?;
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_folder(folder)
        };
        write().map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => KvError::DiskFull {
                path: path.clone(),
                needed: json.len() as u64,
            },
            _ => KvError::io(&path, "write")(error),
        })
    }
}

/// Makes names in a folder durable; on Windows folders cannot be opened and need not be.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
