//! All caches of a library: their sizes, when they were last used, and which would have to go.

use super::cache::{BLOCKS_FILE, LAST_USED_FILE, take_lock};
use super::manifest::Manifest;
use super::scores::SCORES_FILE;
use super::{CacheIdentity, KvError};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A cache on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its folder.
    pub folder: PathBuf,
    /// Whose it is.
    pub identity: CacheIdentity,
    /// Bytes of its blocks, and of what they were scored with.
    pub bytes: u64,
    /// How much of what can be left out was to be kept when it was last made smaller, in hundredths; 100 if it never was.
    pub kept_percent: u32,
    /// When it was last opened or touched.
    pub last_used: SystemTime,
}

/// The caches in the folders of `root`, in no order; folders that are none are passed over.
///
/// # Errors
/// [`KvError::Io`] if `root` exists but cannot be read.
pub fn list(root: &Path) -> Result<Vec<CacheEntry>, KvError> {
    let folders = match fs::read_dir(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KvError::io(root, "list")(error)),
    };
    let mut caches = Vec::new();
    for folder in folders {
        let folder = folder.map_err(KvError::io(root, "list"))?.path();
        let Ok(Some(manifest)) = Manifest::read(&folder) else {
            continue;
        };
        // A removal that was cut short leaves no blocks; it is listed, so that it can be tried again.
        let bytes_of = |name| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
        let bytes = match bytes_of(BLOCKS_FILE) {
            0 => 0,
            blocks => blocks + bytes_of(SCORES_FILE),
        };
        let last_used = fs::metadata(folder.join(LAST_USED_FILE))
            .and_then(|stamp| stamp.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        caches.push(CacheEntry {
            folder,
            kept_percent: manifest.kept_percent.unwrap_or(100),
            identity: manifest.identity,
            bytes,
            last_used,
        });
    }
    Ok(caches)
}

/// Which caches must go, least recently used first, so that the rest and `needed` more bytes fit into `budget`.
///
/// Caches in `kept` (those in use) are never chosen, so the rest may still be too large. Only chooses: whoever
/// removes them tells the person.
pub fn victims(
    caches: &[CacheEntry],
    budget: u64,
    needed: u64,
    kept: &[PathBuf],
) -> Vec<CacheEntry> {
    let mut total = needed + caches.iter().map(|cache| cache.bytes).sum::<u64>();
    let mut by_age: Vec<&CacheEntry> = caches
        .iter()
        .filter(|cache| !kept.contains(&cache.folder))
        .collect();
    by_age.sort_by_key(|cache| cache.last_used);
    let mut victims = Vec::new();
    for cache in by_age {
        if total <= budget {
            break;
        }
        total -= cache.bytes;
        victims.push(cache.clone());
    }
    victims
}

/// Removes a cache's folder.
///
/// # Errors
/// [`KvError::Locked`] if it is open; [`KvError::Io`].
pub fn remove(folder: &Path) -> Result<(), KvError> {
    let lock = take_lock(folder)?;
    // The large file first; the manifest last, so that a removal cut short is still listed.
    for name in [BLOCKS_FILE, SCORES_FILE, LAST_USED_FILE] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(KvError::io(folder.join(name), "remove")(error));
            }
            _ => {}
        }
    }
    // Windows removes no folder that holds an open file.
    drop(lock);
    fs::remove_dir_all(folder).map_err(KvError::io(folder, "remove"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(name: &str, bytes: u64, age: u64) -> CacheEntry {
        CacheEntry {
            folder: name.into(),
            identity: CacheIdentity {
                scope: 0,
                text: [0; 32],
                model: String::new(),
                prompt: 0,
                format: 1,
            },
            bytes,
            kept_percent: 100,
            last_used: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age),
        }
    }

    #[test]
    fn the_least_recently_used_go_first_and_those_in_use_never() {
        let caches = [
            entry("new", 10, 1),
            entry("old", 10, 9),
            entry("older", 10, 20),
        ];
        let names = |budget, needed, kept: &[PathBuf]| -> Vec<PathBuf> {
            victims(&caches, budget, needed, kept)
                .into_iter()
                .map(|cache| cache.folder)
                .collect()
        };
        assert_eq!(names(30, 0, &[]), Vec::<PathBuf>::new());
        assert_eq!(names(30, 1, &[]), [PathBuf::from("older")]);
        assert_eq!(
            names(10, 0, &[]),
            [PathBuf::from("older"), PathBuf::from("old")]
        );
        assert_eq!(
            names(10, 0, &["older".into()]),
            [PathBuf::from("old"), PathBuf::from("new")]
        );
    }
}
